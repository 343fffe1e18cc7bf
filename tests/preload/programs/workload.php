<?php
// Work for php whose output does not depend on timing or addresses. The argument chooses the part.

function numbers(int $seed): Generator
{
    for ($state = $seed;;) {
        $state = ($state * 1103515245 + 12345) % 2147483648;
        yield $state >> 8;
    }
}

function records(int $seed, int $count): array
{
    $next = numbers($seed);
    $records = [];
    for ($id = 0; $id < $count; $id++) {
        $number = $next->current();
        $next->next();
        $records[] = ['id' => $id, 'name' => "record $number", 'text' => str_repeat('x', $number % 400), 'list' => range(0, $number % 20)];
    }
    return $records;
}

class Node
{
    public array $children = [];
    public ?Node $parent = null;
    public function __construct(public string $name) {}
}

function data(): void
{
    $records = records(1, 20000);
    for ($round = 0; $round < 3; $round++) {
        $text = json_encode($records, $round ? JSON_PRETTY_PRINT : 0);
        $records = json_decode($text, true);
    }
    echo strlen($text), ' ', hash('sha256', $text), "\n";
    usort($records, fn($a, $b) => strlen($a['text']) <=> strlen($b['text']) ?: strcmp($a['name'], $b['name']));
    echo hash('sha256', serialize($records)), ' ', count(unserialize(serialize($records))), "\n";
    echo preg_match_all('/"name":\s*"record (\d+)"/', $text, $found), ' ', hash('sha256', implode(',', $found[1])), "\n";
    echo hash('sha256', preg_replace_callback('/x{5,}/', fn($run) => strlen($run[0]), $text)), "\n";
    // Cycles, which the collector has to find.
    for ($i = 0; $i < 20000; $i++) {
        $node = new Node("node $i");
        $node->children[] = $child = new Node('child');
        $child->parent = $node;
    }
    echo gc_collect_cycles() > 0 ? 'collected' : 'nothing to collect', "\n";
    try {
        intdiv(1, 0);
    } catch (DivisionByZeroError $error) {
        echo $error->getMessage(), "\n";
    }
}

// What lives in shared modules of their own, each only if it is there.
function modules(): void
{
    foreach (['ctype', 'tokenizer', 'iconv', 'fileinfo', 'calendar', 'posix', 'phar', 'pdo', 'zlib', 'gettext', 'sockets', 'ffi'] as $name) {
        echo $name, ' ', extension_loaded($name) ? 'loaded' : 'not loaded', "\n";
    }
    if (extension_loaded('tokenizer')) {
        echo count(PhpToken::tokenize(str_repeat(substr(file_get_contents(__FILE__), 5), 20))), "\n";
    }
    if (extension_loaded('iconv')) {
        echo hash('sha256', iconv('UTF-8', 'UTF-16', str_repeat("h\u{e9}llo ", 50000))), ' ', iconv_strlen(str_repeat("\u{e9}", 999)), "\n";
    }
    if (extension_loaded('fileinfo')) {
        echo (new finfo(FILEINFO_MIME))->file(__FILE__), "\n";
    }
    if (extension_loaded('calendar')) {
        echo jdtogregorian(2460000), "\n";
    }
    if (extension_loaded('posix')) {
        echo posix_getpwuid(0)['name'], "\n";
    }
    if (extension_loaded('zlib')) {
        echo hash('sha256', gzuncompress(gzcompress(str_repeat('compressed ', 100000)))), "\n";
    }
    if (extension_loaded('phar')) {
        $archive = new PharData('archive.tar');
        foreach (records(3, 50) as $record) {
            $archive->addFromString("folder/{$record['id']}.txt", $record['text']);
        }
        unset($archive);
        echo count(iterator_to_array(new RecursiveIteratorIterator(new PharData('archive.tar')), false)), "\n";
    }
    if (extension_loaded('pcntl')) {
        for ($child = 0; $child < 4; $child++) {
            if (pcntl_fork() === 0) {
                exit(strlen(json_encode(records($child, 500))) % 100);
            }
            pcntl_wait($status);
            echo pcntl_wexitstatus($status), "\n";
        }
    }
}

$argv[1]();
