/**
 * What an ONVIF device says of itself: maker, model, and the addresses of its streams, by Media2
 * (the only one that has H.265) where the device has it and by Media otherwise.
 */
import { parseCameraUrl, plainUrl } from '../rtsp/client/address.ts';
import { SourceError } from '../source.ts';
import type { SoapDevice } from './soap.ts';
import { escapeXml, find, findAll, printable, textOf, type XmlElement } from './xml.ts';

export interface DeviceStream {
  /** How the device calls the profile. */
  readonly profile: string;
  /** `main` is the largest picture of a video source, all others are `sub`. */
  readonly kind: 'main' | 'sub';
  /** rtsp:// or rtsps://, as the device says it, without user and password. */
  readonly url: string;
  /** Like `H264`; null: not said. */
  readonly codec: string | null;
  readonly width: number | null;
  readonly height: number | null;
  readonly framesPerSecond: number | null;
}

export interface DeviceFacts {
  readonly manufacturer: string;
  readonly model: string;
  readonly firmware: string;
  readonly streams: readonly DeviceStream[];
}

interface Profile extends Omit<DeviceStream, 'kind' | 'url'> {
  readonly token: string;
  readonly videoSource: string;
}

const deviceNamespace = 'http://www.onvif.org/ver10/device/wsdl';
const mediaNamespace = 'http://www.onvif.org/ver10/media/wsdl';
const media2Namespace = 'http://www.onvif.org/ver20/media/wsdl';
const profilesMax = 64;

interface MediaService {
  readonly path: string;
  readonly namespace: string;
}

/**
 * @param path of the device service
 * @throws SourceError as `SoapDevice.call`; `unsupported` for a device without media
 */
export async function readDevice(device: SoapDevice, path: string): Promise<DeviceFacts> {
  const ask = (name: string, body = '', isSigned = true): Promise<XmlElement> =>
    device.call(path, `<${name} xmlns="${deviceNamespace}">${body}</${name}>`, isSigned);
  device.clockAheadMs = await clockAhead(device, () => ask('GetSystemDateAndTime', '', false));
  const facts = await ask('GetDeviceInformation');
  const media = await mediaService(ask);
  const profiles = await readProfiles(device, media);
  const streams: DeviceStream[] = [];
  const seen = new Set<string>();
  for (const profile of profiles) {
    const url = await streamUrl(device, media, profile.token);
    if (url === null) continue;
    const kind = seen.has(profile.videoSource) ? 'sub' : 'main';
    seen.add(profile.videoSource);
    streams.push({
      profile: profile.profile,
      ...{ kind, url, codec: profile.codec },
      ...{ width: profile.width, height: profile.height },
      framesPerSecond: profile.framesPerSecond,
    });
  }
  return {
    manufacturer: printable(textOf(facts, 'Manufacturer')),
    model: printable(textOf(facts, 'Model')),
    firmware: printable(textOf(facts, 'FirmwareVersion')),
    streams,
  };
}

/** Tokens that are minutes off are refused, and cameras' clocks often are. */
async function clockAhead(device: SoapDevice, ask: () => Promise<XmlElement>): Promise<number> {
  try {
    const time = find(await ask(), 'UTCDateTime');
    // Whatever it says, with four digits a part it stays a time that can be written.
    const part = (name: string): number => {
      const text = textOf(time, name);
      return /^\d{1,4}$/.test(text) ? Number(text) : Number.NaN;
    };
    const [year, month, day] = [part('Year'), part('Month'), part('Day')];
    const ms = Date.UTC(year, month - 1, day, part('Hour'), part('Minute'), part('Second'));
    return Number.isFinite(ms) ? ms - device.nowMs() : 0;
  } catch (error) {
    // Some want a user for this too; they have to take our time then.
    if (error instanceof SourceError && error.code !== 'unreachable') return 0;
    throw error;
  }
}

async function mediaService(
  ask: (name: string, body?: string) => Promise<XmlElement>,
): Promise<MediaService> {
  try {
    const body = '<IncludeCapability>false</IncludeCapability>';
    const services = findAll(await ask('GetServices', body), 'Service');
    for (const namespace of [media2Namespace, mediaNamespace]) {
      const found = services.find((service) => textOf(service, 'Namespace') === namespace);
      const path = pathOf(textOf(found ?? null, 'XAddr'));
      if (path !== null) return { path, namespace };
    }
  } catch (error) {
    // Devices from before ONVIF 2.1 do not know the question.
    if (!(error instanceof SourceError) || error.code !== 'unsupported') throw error;
  }
  const capabilities = await ask('GetCapabilities', '<Category>Media</Category>');
  const path = pathOf(textOf(find(capabilities, 'Media'), 'XAddr'));
  if (path === null) throw new SourceError('unsupported', 'it has no media service: no camera');
  return { path, namespace: mediaNamespace };
}

/** Only the path: host and port are those that were asked, whatever the device says. */
function pathOf(address: string): string | null {
  const url = URL.canParse(address) ? new URL(address) : null;
  return url === null || !/^https?:$/.test(url.protocol) ? null : url.pathname + url.search;
}

/** The largest picture first. */
async function readProfiles(
  device: SoapDevice,
  { path, namespace }: MediaService,
): Promise<readonly Profile[]> {
  const type = namespace === media2Namespace ? '<Type>All</Type>' : '';
  const answer = await device.call(path, `<GetProfiles xmlns="${namespace}">${type}</GetProfiles>`);
  return findAll(answer, 'Profiles')
    .slice(0, profilesMax)
    .map(profileOf)
    .filter(({ token }) => token !== '')
    .sort((a, b) => pixels(b) - pixels(a));
}

function profileOf(element: XmlElement): Profile {
  const source = find(element, 'VideoSourceConfiguration') ?? find(element, 'VideoSource');
  const encoder = find(element, 'VideoEncoderConfiguration') ?? find(element, 'VideoEncoder');
  const resolution = encoder === null ? null : find(encoder, 'Resolution');
  return {
    token: element.attributes.get('token') ?? '',
    profile: printable(textOf(element, 'Name')),
    videoSource: textOf(source, 'SourceToken'),
    codec: printable(textOf(encoder, 'Encoding')) || null,
    width: size(textOf(resolution, 'Width')),
    height: size(textOf(resolution, 'Height')),
    framesPerSecond: size(textOf(encoder, 'FrameRateLimit')),
  };
}

function size(text: string): number | null {
  return /^\d{1,5}(\.\d{1,6})?$/.test(text) && Number(text) > 0 ? Number(text) : null;
}

function pixels({ width, height }: Profile): number {
  return (width ?? 0) * (height ?? 0);
}

/** null: the profile has no stream that can be fetched. */
async function streamUrl(
  device: SoapDevice,
  { path, namespace }: MediaService,
  token: string,
): Promise<string | null> {
  const profile = `<ProfileToken>${escapeXml(token)}</ProfileToken>`;
  const schema = 'http://www.onvif.org/ver10/schema';
  const body =
    namespace === media2Namespace
      ? `<Protocol>RTSP</Protocol>${profile}`
      : `<StreamSetup><Stream xmlns="${schema}">RTP-Unicast</Stream><Transport xmlns="${schema}"><Protocol>RTSP</Protocol></Transport></StreamSetup>${profile}`;
  try {
    const answer = await device.call(
      path,
      `<GetStreamUri xmlns="${namespace}">${body}</GetStreamUri>`,
    );
    return pasteable(plainUrl(parseCameraUrl(textOf(answer, 'Uri'))));
  } catch (error) {
    if (error instanceof SourceError && error.code === 'unsupported') return null;
    throw error;
  }
}

/**
 * Within quotes a shell takes it as it is, and no `${…}` in it stands for a variable: people paste
 * it. What no URL may hold (RFC 3986, 2) is percent-encoded, and so is the quote.
 */
function pasteable(url: string): string {
  return url.replaceAll(/[^\w.~:/?#[\]@!$&()*+,;=%-]/gu, (char) =>
    char === "'" ? '%27' : encodeURIComponent(char),
  );
}
