#!/usr/bin/perl
# nano.pl push|pull connect|bind URL [DATA] - a peer on libnanomsg through its Perl binding. push sends DATA twice and stays;
# pull prints what comes, one message a line.
use strict;
use warnings;
use NanoMsg::Raw;

my ($role, $way, $url, $data) = @ARGV;
my $socket = nn_socket(AF_SP, $role eq 'push' ? NN_PUSH : NN_PULL) // die nn_errno();
($way eq 'bind' ? nn_bind($socket, $url) : nn_connect($socket, $url)) // die nn_errno();
$| = 1;
if ($role eq 'push') {
	nn_send($socket, $data) // die nn_errno() for 1 .. 2;
	sleep 1 while 1; # libnanomsg does not linger
}
while (nn_recv($socket, my $buffer)) {
	print "$buffer\n";
}
