/**
 * In which waves the targets of a rollout are upgraded: `1,10%,50%,100%` means one target first, then until a tenth of all have it, half of all, all.
 * Each entry says how many have it at the end of its wave, as a number or as a share (rounded up).
 */

/**
 * @returns for each wave how many targets of `total` have been upgraded at its end; growing, the last one is `total`
 * @throws Error that says what is wrong with the text
 */
export function waveEnds(text: string, total: number): number[] {
  const ends: number[] = [];
  for (const part of text.split(',')) {
    const [, digits = '', percent] = /^\s*(\d{1,9}(?:\.\d{1,3})?)(%?)\s*$/.exec(part) ?? [];
    const number = Number(digits);
    if (digits === '' || number <= 0 || (percent === '%' ? number > 100 : !Number.isInteger(number)))
      throw new Error(
        `found "${part.trim()}", allowed: numbers from 1 or shares up to 100%, such as 1,10%,50%,100%`,
      );
    const end = Math.min(total, percent === '%' ? Math.ceil((total * number) / 100) : number);
    if (end > (ends.at(-1) ?? 0)) ends.push(end);
  }
  if ((ends.at(-1) ?? 0) < total) ends.push(total);
  return ends;
}
