# Work for perl whose output does not depend on timing, addresses or hash order. The argument chooses the part.
use strict;
use warnings;
use Config;

my $state = 42;
sub number { $state = ($state * 1103515245 + 12345) % 2147483648; return $state >> 8 }

sub checksum { my $sum = 0; $sum = ($sum * 31 + unpack('%32C*', $_)) % 4294967291 for @_; return $sum }

sub data {
    my %words;
    for my $i (1 .. 60_000) {
        my $key = 'key' . (number() % 20_000);
        push @{ $words{$key}{list} }, $i;
        $words{$key}{text} .= chr(97 + $i % 26) x ($i % 40);
        delete $words{'key' . (number() % 20_000)};
    }
    my @lines = map { "$_ @{$words{$_}{list}} $words{$_}{text}" } sort keys %words;
    print scalar(@lines), ' ', checksum(@lines), "\n";
    my @sorted = sort { $a->[1] <=> $b->[1] || $a->[0] cmp $b->[0] } map { [ $_, number() ] } 1 .. 20_000;
    print checksum(map { "@$_" } @sorted), "\n";
}

sub text {
    my $text = join ' ', map { sprintf '%x:%s', number(), 'ab' x (number() % 30) } 1 .. 20_000;
    my $count = () = $text =~ /([0-9a-f]+):((?:ab){7,})/g;
    (my $changed = $text) =~ s/([0-9a-f]+):(\w*)/length($2) . '<' . reverse($1) . '>'/ge;
    print "$count ", length($changed), ' ', checksum($changed), "\n";
    my $grown = '';
    $grown .= substr($text, length($grown) % 1000, 997) while length($grown) < 8_000_000;
    print checksum($grown), ' ', checksum(split /:/, $grown), "\n";
    print checksum(pack('N*', map { number() } 1 .. 50_000)), "\n";
    my $closure = sub { 0 };
    for my $n (1 .. 2000) { my $inner = $closure; $closure = sub { ($n + ($n % 50 ? 0 : $inner->())) % 9973 } }
    print $closure->(), "\n";
}

sub forks {
    for my $child (1 .. 8) {
        pipe(my $reader, my $writer) or die;
        my $pid = fork // die;
        if ($pid == 0) { close $reader; $state = $child; print $writer checksum(map { 'x' x (number() % 3000) } 1 .. 3000), "\n"; exit $child }
        close $writer;
        print <$reader>;
        waitpid $pid, 0;
        print $? >> 8, "\n";
    }
}

sub threads_ {
    if (!$Config{useithreads}) { print "no interpreter threads\n"; return }
    require threads;
    my %kept = map { $_ => [ 1 .. $_ % 20 ] } 1 .. 3000;
    my @workers = map { my $seed = $_; threads->create(sub {
        $state = $seed;
        my %own = map { number() => 'y' x (number() % 500) } 1 .. 8000;
        return checksum(map { "$_ $own{$_}" } sort keys %own) + keys %kept;
    }) } 1 .. 4;
    print $_->join, "\n" for @workers;
}

my %parts = (data => \&data, text => \&text, fork => \&forks, threads => \&threads_);
$| = 1;
$parts{ $ARGV[0] }->();
