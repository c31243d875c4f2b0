import { missing } from './requirements.ts'
import { noNamespace } from './namespace.ts'

/*
 * A network at a distance, without the kernel's netem: packets to it go through a TUN device to a small program, which
 * swaps their two addresses and returns them later. So the machine talks to itself, under the addresses of the network.
 * Checksums of IP and TCP are sums that include both addresses and stay valid. Node cannot open a TUN device; Perl, which
 * every Debian has, can.
 */

/** Every packet takes this long, so a round trip twice of it: more than the 250 ms that Node gives an address by default. */
export const DISTANCE_MS = 150

/** Hosts of the network that answer. */
export const DISTANT = { ipv4: '10.9.0.200', ipv6: '2001:db8:9::2' }
/** Hosts of the network that do not. Resolvers sort them first, as they share more bits with the machine's address. */
export const SILENT = { ipv4: '10.9.0.9', ipv6: '2001:db8:9::9' }

/** The commands that make the device and the routes to it. */
export const DISTANT_NETWORK = [
  'ip tuntap add dev distant mode tun',
  'ip addr add 10.9.0.1/24 dev distant',
  'ip -6 addr add 2001:db8:9::1/64 dev distant nodad',
  'ip link set distant up',
]

/** The `skip` of tests that need it. */
export const NO_DISTANT_NETWORK = missing('perl') || noNamespace(...DISTANT_NETWORK)

/** TUNSETIFF with IFF_TUN and IFF_NO_PI; a host whose address ends in 9 is silent; a packet waits in a process of its own. */
const PROGRAM = `
open(my $tun, "+<", "/dev/net/tun") or die "open: $!";
my $device = pack("a16 s x22", "distant", 0x1001);
ioctl($tun, 0x400454ca, $device) or die "ioctl: $!";
$SIG{CHLD} = "IGNORE";
$| = 1;
print "ready\\n";
while (sysread($tun, my $packet, 65536)) {
  my ($at, $length) = ord($packet) >> 4 == 6 ? (8, 16) : (12, 4);
  my ($from, $to) = (substr($packet, $at, $length), substr($packet, $at + $length, $length));
  next if ord(substr($to, -1)) == 9 or fork;
  select(undef, undef, undef, ${DISTANCE_MS / 1_000});
  substr($packet, $at, 2 * $length) = $to . $from;
  syswrite($tun, $packet);
  exit;
}
`

/** For the script of `inNamespace`: starts the program, which ends with the script. */
export const START_DISTANT_NETWORK = `
  const distant = spawn('perl', ['-e', ${JSON.stringify(PROGRAM)}], { stdio: ['ignore', 'pipe', 'inherit'] })
  distant.on('exit', () => process.exit(1))
  process.on('exit', () => distant.kill('SIGKILL'))
  await new Promise((resolve) => distant.stdout.once('data', resolve))
`
