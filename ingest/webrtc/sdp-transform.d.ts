/**
 * As much of sdp-transform as is used here. What it reads is what a stranger wrote: a value that
 * looks like a number comes as one, and anything may be missing.
 */
declare module 'sdp-transform' {
  type Value = string | number;

  interface Attributes {
    readonly iceUfrag?: Value;
    readonly icePwd?: Value;
    readonly fingerprint?: { readonly type?: Value; readonly hash?: Value };
    readonly setup?: Value;
    readonly direction?: Value;
    readonly ext?: readonly { readonly value?: Value; readonly uri?: Value }[];
  }

  interface ParsedMedia extends Attributes {
    readonly type?: Value;
    readonly port?: Value;
    readonly protocol?: Value;
    readonly payloads?: Value;
    readonly mid?: Value;
    readonly rtcpMux?: Value;
    readonly rtp: readonly {
      readonly payload?: Value;
      readonly codec?: Value;
      readonly rate?: Value;
      readonly encoding?: Value;
    }[];
    readonly fmtp: readonly { readonly payload?: Value; readonly config?: Value }[];
    readonly rtcpFb?: readonly {
      readonly payload?: Value;
      readonly type?: Value;
      readonly subtype?: Value;
    }[];
    readonly ssrcs?: readonly { readonly id?: Value }[];
    readonly ssrcGroups?: readonly { readonly semantics?: Value; readonly ssrcs?: Value }[];
  }

  interface ParsedSession extends Attributes {
    readonly groups?: readonly { readonly type?: Value; readonly mids?: Value }[];
    readonly media: readonly ParsedMedia[];
  }

  export function parse(sdp: string): ParsedSession;
  export function parseParams(config: string): Readonly<Record<string, Value | undefined>>;
}
