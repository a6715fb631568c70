// The light build of hls.js has the full one's types, but does not say so.
declare module 'hls.js/light' {
  import Hls from 'hls.js';
  export default Hls;
}

// Safari's: the wall-clock time at which its media began.
interface HTMLMediaElement {
  getStartDate?(): Date;
}
