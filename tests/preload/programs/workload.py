"""Work for the Python interpreter whose output does not depend on timing or addresses. The argument chooses the part."""

import collections
import concurrent.futures
import hashlib
import json
import multiprocessing
import re
import subprocess
import sys
import threading
import zlib


def digest(value):
    return hashlib.sha256(repr(value).encode()).hexdigest()


def make_records(seed, count):
    """Nested values from a small generator of numbers, the same on every run."""
    state = seed
    records = []
    for index in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        width = state >> 59
        records.append({'id': index, 'name': f'record {state:x}', 'list': list(range(width)), 'text': 'x' * (state >> 54),
                        'nested': {str(key): [key, float(key), None, True] for key in range(width % 7)}})
    return records


def churn(seed):
    """What one thread does: builds, sorts, slices and drops many objects of many sizes."""
    words = collections.Counter()
    kept = []
    for record in make_records(seed, 3000):
        words.update(re.findall(r'[a-f]+', record['name']))
        kept.append(record['text'] + record['name'])
        if len(kept) > 500:
            kept = sorted(kept)[::2]
    return digest((sorted(words.items()), kept))


def threads():
    results = {}
    workers = [threading.Thread(target=lambda seed=seed: results.update({seed: churn(seed)})) for seed in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print(sorted(results.items()))
    # Many short ones: each comes and goes with a cache of its own.
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        print(digest(list(pool.map(lambda size: zlib.crc32(bytes(size)), range(0, 200_000, 997)))))
    for index in range(300):
        worker = threading.Thread(target=make_records, args=(index, 5))
        worker.start()
        worker.join()


def json_():
    records = make_records(7, 12_000)
    for _ in range(2):
        text = json.dumps(records, indent=1, sort_keys=True)
        records = json.loads(text)
    print(len(text), hashlib.sha256(text.encode()).hexdigest())
    try:
        json.loads('[' * 100_000)
    except RecursionError as error:
        print(type(error).__name__)


def growing():
    buffer = bytearray()
    while len(buffer) < 48 << 20:
        buffer += bytes([len(buffer) % 251]) * (1 + len(buffer) // 7)
    print(len(buffer), zlib.crc32(buffer))
    del buffer[1 << 20:]
    print(len(buffer), zlib.crc32(buffer))
    print(zlib.crc32(zlib.decompress(zlib.compress(bytes(buffer) * 8, 1))))
    print((3 ** 40_000).bit_length(), hash(3 ** 40_000))
    try:
        bytearray(sys.maxsize - 64)
    except MemoryError as error:
        print(type(error).__name__)


def pool_task(seed):
    return churn(seed), sum(len(record['text']) for record in make_records(seed, 200))


def pool(method):
    context = multiprocessing.get_context(method)
    with context.Pool(3) as workers:
        print(workers.map(pool_task, range(6)))
    queue = context.Queue()
    process = context.Process(target=fill, args=(queue,))
    process.start()
    print(digest([queue.get() for _ in range(200)]))
    process.join()
    print(process.exitcode)


def fill(queue):
    for record in make_records(11, 200):
        queue.put(record)


def subprocesses():
    def run(number):
        churned = churn(number)
        return churned, subprocess.run(['sh', '-c', f'echo {number}; exit {number}'], capture_output=True).returncode
    with concurrent.futures.ThreadPoolExecutor(4) as executor:
        print(list(executor.map(run, range(16))))


if __name__ == '__main__':
    parts = {'threads': threads, 'json': json_, 'growing': growing, 'fork': lambda: pool('fork'),
             'spawn': lambda: pool('spawn'), 'subprocesses': subprocesses}
    parts[sys.argv[1]]()
