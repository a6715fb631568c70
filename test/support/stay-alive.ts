import type { Scope } from './scope.ts';

/**
 * Keeps the process at work until the scope ends, as the servers of a gateway do. By themselves
 * neither a timer of the system's clock nor a connection that rests would keep it.
 */
export function stayAlive(scope: Scope): void {
  const timer = setInterval(() => undefined, 60_000);
  scope.after(() => {
    clearInterval(timer);
  });
}
