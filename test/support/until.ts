// Waiting for what other processes do: a probe that is asked again until it answers, with a deadline whose failure says what
// was waited for and what was seen last. For facts that announce themselves, tests wait for the announcement instead.

const pauseMs = 15;
/** Long enough for a loaded machine; nothing that works comes near it. */
export const patienceMs = 25_000;

/** Asks `probe` until it answers something other than undefined or false. */
export async function until<T>(
  what: string,
  probe: () => Promise<T | undefined | false> | T | undefined | false,
  timeoutMs = patienceMs,
): Promise<T> {
  const deadlineMs = performance.now() + timeoutMs;
  for (;;) {
    const answer = await probe();
    if (answer !== undefined && answer !== false) return answer;
    if (performance.now() > deadlineMs) throw new Error(`waited ${timeoutMs} ms in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

/** The promise's value, or an error that says what did not come in time. `extra` is asked for more to say then. */
export async function inTime<T>(
  what: string,
  promise: Promise<T>,
  timeoutMs = patienceMs,
  extra: () => string = () => '',
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(
      () => reject(new Error(`waited ${timeoutMs} ms in vain for ${what}\n${extra()}`)),
      timeoutMs,
    );
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
