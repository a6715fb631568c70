/**
 * `headgate function`: holds a function back, lets it go on, puts it elsewhere in its stream, hands over
 * again what it failed, and lets go of how far one had come that is no longer configured.
 */
import type { Command } from 'commander';
import {
  FunctionReplaySchema,
  FunctionSchema,
  type StreamFunction,
} from '../api/rest/function-schemas.ts';
import { addSteeringCommands } from './steering.ts';
import { counted, formatBytes } from './table.ts';
import type { CliContext, ExitCode } from './context.ts';

export function addFunctionCommand(
  program: Command,
  context: CliContext,
  finish: (code: ExitCode) => void,
): void {
  addSteeringCommands(program, context, finish, {
    what: 'function',
    path: 'functions',
    schema: FunctionSchema,
    replaySchema: FunctionReplaySchema,
    description:
      'pause, resume or rewind a function on a stream, hand over again what it failed, or forget one that is no longer configured',
    about: {
      pause:
        'begin no call any more, also after restarts; a required one keeps what it has not had yet, within the byte limit of its stream',
      rewind:
        'begin anew elsewhere: it gets what came since then, again where it had it before; the state of an open window is forgotten',
      replay: 'hand over again the batches that failed by now, which are in its deadLetter',
      forget: 'forget how far a function had come that is no longer configured',
    },
    waiting: waitingText,
    replayed: ({ name, batches }) =>
      batches === 0
        ? `${name} has no failed batches.`
        : `${name} gets ${counted(batches, 'failed batch', 'failed batches')} again; what fails once more is kept.`,
  });
}

function waitingText({ backlog, required }: StreamFunction): string {
  if (backlog.records === 0) return 'No record waits.';
  const kept = required ? ', kept within the byte limit of its stream' : '';
  const verb = backlog.records === 1 ? 'waits' : 'wait';
  return `${counted(backlog.records, 'record')} (${formatBytes(backlog.bytes)}) ${verb}${kept}.`;
}
