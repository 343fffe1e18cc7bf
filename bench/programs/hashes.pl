# A workload for the Perl interpreter: hashes, strings, regular expressions, sorting. The argument: how many records.
use strict;
use warnings;

my $count = $ARGV[0];

for my $part (1 .. 3) {
    my (%owners, @lines);
    my $state = $part;
    for my $number (1 .. $count) {
        $state = ($state * 1103515245 + 12345) % 2**31;
        my $owner = 'owner' . (($state >> 8) % 3000);
        my %order = (number => $number, price => $state % 1000 / 7, note => 'n' x ($state % 60));
        push @{ $owners{$owner}{orders} }, \%order;
        $owners{$owner}{tags}{ 'tag' . ($state >> 12) % 50 }++;
        push @lines, join(',', $owner, $number, map { sprintf('%04x', $_ * $number % 65521) } 1 .. 5);
    }
    my $total = 0;
    for my $owner (sort keys %owners) {
        my @orders = sort { $a->{price} <=> $b->{price} || $a->{number} <=> $b->{number} } @{ $owners{$owner}{orders} };
        $total += $orders[0]{number} + length(join '', map { $_->{note} } @orders) + keys %{ $owners{$owner}{tags} };
    }
    my (%fields, $changed);
    for my $line (sort { substr($a, 5) cmp substr($b, 5) } @lines) {
        my ($owner, @words) = split /,/, $line;
        $fields{$_} .= substr($owner, -1) for @words;
        $changed++ if $line =~ s/(\d+),([0-9a-f]{4})/$2-$1/;
    }
    my ($longest) = sort { length($fields{$b}) <=> length($fields{$a}) || $a cmp $b } keys %fields;
    print "$part $total $changed ", scalar(keys %fields), " $longest\n";
}
