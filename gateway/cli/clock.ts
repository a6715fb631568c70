/** `headgate clock`: whether the running gateway believes its clock, and `confirm` that it may. */
import { ClockSchema, type ClockAnswer } from '../api/rest/operation-schemas.ts';
import { GatewayClient, NoAnswer, type ClientOptions } from './client.ts';
import { exitCodes, type CliContext, type ExitCode } from './context.ts';
import { counted, formatAge } from './table.ts';

export interface ClockCommandOptions extends ClientOptions {
  readonly json?: boolean;
}

/** @throws UnusableConfig */
export function showClock(context: CliContext, options: ClockCommandOptions): Promise<ExitCode> {
  return ask(context, options, (client) => client.get('/api/v1/clock', ClockSchema));
}

/** @throws UnusableConfig */
export function confirmClock(context: CliContext, options: ClockCommandOptions): Promise<ExitCode> {
  return ask(context, options, (client) => client.post('/api/v1/clock/confirm', ClockSchema));
}

async function ask(
  context: CliContext,
  options: ClockCommandOptions,
  question: (client: GatewayClient) => Promise<ClockAnswer>,
): Promise<ExitCode> {
  try {
    const client = await GatewayClient.find(context, options);
    const answer = await client.whileLoggedIn(() => question(client));
    context.stdout.write(
      options.json === true ? `${JSON.stringify(answer, null, 2)}\n` : show(answer),
    );
    return exitCodes.done;
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    context.stderr.write(`${error.message}\n`);
    return exitCodes.failed;
  }
}

function show({ time, suspended, steps, expiring }: ClockAnswer): string {
  const lines = [
    `The gateway's clock says ${time}.`,
    ...steps.map(
      (step) =>
        `Step of ${showStep(step.stepMs)} to ${step.time}${step.whileStopped ? ', while the gateway was stopped' : ''}`,
    ),
    ...(suspended === null
      ? ['Age is believed: what is older than its retention is deleted.']
      : [
          `Nothing stored before the step is deleted by age: without it the clock would say ${suspended.expectedTime}.`,
          `That ends by itself in ${formatAge(suspended.healsInMs)} at most. If the clock is right, "headgate clock confirm" ends it now.`,
        ]),
    ...expiring.map(
      ({ kind, name, count }) =>
        `Older than its retention: ${kind} ${name}: ${counted(count, kind === 'stream' ? 'record' : 'media file')}`,
    ),
  ];
  return `${lines.join('\n')}\n`;
}

function showStep(stepMs: number): string {
  return `${stepMs < 0 ? '-' : '+'}${formatAge(Math.abs(stepMs))}`;
}
