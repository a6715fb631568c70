import { useState } from 'preact/hooks';
import { api } from './api.ts';
import { loggedIn } from './state.ts';

/** Asks for a login token, as `headgate token` makes it. */
export function Login() {
  const [problem, setProblem] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);

  const submit = async (form: HTMLFormElement): Promise<void> => {
    const token = new FormData(form).get('token');
    setBusy(true);
    try {
      await api.login(typeof token === 'string' ? token.trim() : '');
      loggedIn.value = true;
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    } finally {
      setBusy(false);
    }
  };

  return (
    <form
      class="login"
      onSubmit={(event) => {
        event.preventDefault();
        void submit(event.currentTarget);
      }}
    >
      <img src="/favicon.svg" alt="" width="48" height="48" />
      <h1>Headgate</h1>
      <label>
        Login token
        <input name="token" type="password" autocomplete="current-password" required autofocus />
      </label>
      {problem !== null && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
      <button type="submit" disabled={busy}>
        Log in
      </button>
      <p class="hint">
        <code>headgate token</code> on the box makes one. The link that the gateway prints when it
        starts logs in without.
      </p>
    </form>
  );
}
