/**
 * Where a camera may be, for sources that were not written by the owner of the box: those given
 * over the API, and whatever a camera redirects to.
 *
 * The check is made on the IP address that is about to be connected to, each time, after the name
 * was resolved: a name that resolves to something else later (DNS rebinding) gains nothing.
 */
import { BlockList, isIP, isIPv4 } from 'node:net';
import { networkInterfaces } from 'node:os';

/** Why an IP address may not be connected to; null: it may. */
export type AddressGuard = (address: string) => string | null;

/** The networks that cameras are in where nothing else is said (RFC 1918, RFC 4193). */
export const privateNetworks: readonly string[] = [
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  'fc00::/7',
];

/** Never, whatever is allowed. */
const forbidden: readonly (readonly [reason: string, networks: readonly string[]])[] = [
  ['is this machine', ['0.0.0.0/8', '127.0.0.0/8', '::/128', '::1/128']],
  // Cloud providers answer with credentials there.
  ['is link-local', ['169.254.0.0/16', 'fe80::/10', 'fd00:ec2::254/128', 'fd20:ce::254/128']],
  ['is not the address of one machine', ['224.0.0.0/4', '240.0.0.0/4', 'ff00::/8']],
  // Another spelling of an IPv4 address, which would have to be judged by that.
  [
    'stands for an IPv4 address',
    ['::/96', '::ffff:0:0:0/96', '64:ff9b::/96', '64:ff9b:1::/48', '2001::/32', '2002::/16'],
  ],
];

/** For sources that the owner wrote into the configuration: anything goes. */
export const anywhere: AddressGuard = () => null;

/** Whether a text is a network, like `10.1.0.0/16` or `fd00::/8`; one address is `/32` or `/128`. */
export function isNetwork(text: string): boolean {
  const [address = '', prefix, ...more] = text.split('/');
  const bits = isIP(address) === 4 ? 32 : 128;
  if (isIP(address) === 0 || more.length > 0 || address.includes('%')) return false;
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= bits);
}

/**
 * Allows addresses in these networks only, and none of this machine, loopback, link-local or
 * multicast among them.
 *
 * @param ownAddresses the addresses of this machine, asked for at each check
 */
export function onlyNetworks(
  networks: readonly string[],
  ownAddresses: () => readonly string[] = addressesOfThisMachine,
): AddressGuard {
  const never = forbidden.map(([reason, list]) => [reason, blockListOf(list)] as const);
  const allowed = blockListOf(networks);
  return (given) => {
    const address = unmapped(given);
    const family = isIPv4(address) ? 'ipv4' : 'ipv6';
    if (isIP(address) === 0) return 'is not an IP address';
    const found = never.find(([, list]) => list.check(address, family));
    if (found !== undefined) return found[0];
    const own = new BlockList();
    for (const one of ownAddresses())
      own.addAddress(unmapped(one), isIPv4(unmapped(one)) ? 'ipv4' : 'ipv6');
    if (own.check(address, family)) return 'is this machine';
    return allowed.check(address, family) ? null : 'is not in an allowed network';
  };
}

function blockListOf(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', prefix] = network.split('/');
    const isV4 = isIPv4(address);
    list.addSubnet(address, Number(prefix ?? (isV4 ? 32 : 128)), isV4 ? 'ipv4' : 'ipv6');
  }
  return list;
}

/** `::ffff:10.0.0.1`, however it is spelled, is 10.0.0.1; a zone (`%eth0`) is not part of it. */
function unmapped(address: string): string {
  const [plain = ''] = address.split('%');
  if (isIP(plain) !== 6) return plain;
  // The URL parser writes every IPv6 address in one way.
  const compact = new URL(`http://[${plain}]/`).hostname.slice(1, -1);
  const match = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(compact);
  if (match === null) return compact;
  const [high, low] = [parseInt(match[1] ?? '', 16), parseInt(match[2] ?? '', 16)];
  return [high >> 8, high & 255, low >> 8, low & 255].join('.');
}

function addressesOfThisMachine(): readonly string[] {
  return Object.values(networkInterfaces()).flatMap((list) =>
    (list ?? []).map(({ address }) => address),
  );
}
