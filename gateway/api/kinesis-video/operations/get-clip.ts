/** GetClip: the fragments of a stretch of time, whole, as one MP4. */
import { required, structure } from '../../aws/shapes.ts';
import { clipFragmentsMax } from '../clips.ts';
import { notFound } from '../errors.ts';
import { fragmentSelector, streamTarget } from '../members.ts';
import { defineOperation } from '../operation.ts';
import { selectFragments, selectionOf } from '../selection.ts';
import { checkKept } from './configurations.ts';

export const getClip = defineOperation({
  name: 'GetClip',
  path: '/getClip',
  input: structure({ ...streamTarget, ClipFragmentSelector: required(fragmentSelector) }),
  resources: (input, { streams }) => streams.arnOf(input),
  async run(input, { streams, video, clips }) {
    const stream = await streams.find(input);
    checkKept(stream);
    const selection = selectionOf(input.ClipFragmentSelector);
    const { fragments } = await selectFragments(video, stream.name, selection, clipFragmentsMax);
    if (fragments.length === 0) throw notFound('No fragments found in the stream for this time.');
    return clips.clip(fragments);
  },
});
