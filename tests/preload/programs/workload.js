// Work for node whose output does not depend on timing or addresses. The argument chooses the part.
'use strict';
const crypto = require('crypto');
const zlib = require('zlib');
const { promisify } = require('util');
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const childProcess = require('child_process');

function numbers(seed) {
    let state = seed >>> 0;
    return () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) >>> 8;
}

const hash = data => crypto.createHash('sha256').update(data).digest('hex');

function records(seed, count) {
    const next = numbers(seed);
    return Array.from({ length: count }, (_, id) =>
        ({ id, name: `record ${next()}`, text: 'x'.repeat(next() % 300), list: Array.from({ length: next() % 20 }, next) }));
}

function churnBuffers(seed, rounds) {
    const next = numbers(seed);
    const kept = [];
    const sum = crypto.createHash('sha256');
    for (let round = 0; round < rounds; round++) {
        const buffer = Buffer.alloc(next() % 20000, round % 251);
        kept.push(next() % 3 ? buffer : Buffer.concat([buffer, Buffer.from(String(round).repeat(next() % 500))]));
        if (kept.length > 200)
            sum.update(kept.splice(next() % 200, 1)[0]);
    }
    return sum.digest('hex');
}

async function buffers() {
    console.log(churnBuffers(1, 6000));
    const large = new Uint8Array(64 << 20);
    for (let at = 0; at < large.length; at += 4096) large[at] = at >> 12;
    console.log(hash(large.subarray(0, 8 << 20)), Buffer.from(large.buffer, 4096, 4096).readUInt8(0));
    console.log(structuredClone(large.buffer, { transfer: [large.buffer] }).byteLength, large.byteLength);
    console.log(Buffer.from(hash('x').repeat(20000), 'hex').toString('base64').length);
}

async function json() {
    let value = records(3, 20000);
    let text = '';
    for (let round = 0; round < 3; round++) {
        text = JSON.stringify(value, null, round);
        value = JSON.parse(text);
    }
    console.log(text.length, hash(text));
    const map = new Map(value.map(record => [record.name, new Set(record.list)]));
    console.log(map.size, text.match(/record (\d+)/g).length, hash(text.replace(/x{3,}/g, run => run.length)));
    try { JSON.parse('{"a":'); } catch (error) { console.log(error.name); }
}

async function threadPool() {
    const text = JSON.stringify(records(5, 1500));
    const deflated = await Promise.all(Array.from({ length: 12 }, (_, n) => promisify(zlib.deflate)(text.slice(n * 1000), { level: n % 9 + 1 })));
    const inflated = await Promise.all(deflated.map(data => promisify(zlib.inflate)(data)));
    console.log(deflated.map(data => data.length), hash(Buffer.concat(inflated)));
    const keys = await Promise.all(Array.from({ length: 8 }, (_, n) => promisify(crypto.pbkdf2)('secret', `salt ${n}`, 3000, 64, 'sha512')));
    console.log(keys.map(key => key.toString('hex')));
    console.log(hash(zlib.brotliDecompressSync(zlib.brotliCompressSync(text, { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 4 } }))));
}

async function workers() {
    const run = seed => new Promise((resolve, reject) => {
        const worker = new Worker(__filename, { workerData: seed });
        worker.once('message', resolve);
        worker.once('error', reject);
    });
    for (let round = 0; round < 2; round++) {
        const results = await Promise.all([1, 2, 3, 4].map(run));
        for (const { sum, count, memory } of results)
            console.log(sum, count, hash(new Uint8Array(memory)));
    }
}

async function child() {
    // Not process.exit(3): that loses what a slow reader has not taken yet.
    const script = 'process.stdin.on("data", d => process.stdout.write(d.toString().toUpperCase())).on("end", () => process.exitCode = 3)';
    const result = childProcess.spawnSync(process.execPath, ['-e', script], { input: 'abc '.repeat(100000), maxBuffer: 1 << 24 });
    console.log(result.status, hash(result.stdout), childProcess.execSync('sort -r', { input: 'a\nb\nc\n' }).toString());
}

if (isMainThread) {
    ({ buffers, json, threadPool, workers, child })[process.argv[2]]();
} else {
    const memory = new ArrayBuffer(3 << 20);
    new Uint32Array(memory).fill(workerData);
    parentPort.postMessage({ sum: churnBuffers(workerData, 1500), count: JSON.stringify(records(workerData, 3000)).length, memory }, [memory]);
}
