// Tables of the commands that show a running agent. Plain columns, because cells are often searched and cut by other programs, and because an agent
// may have thousands of rows. Names in them are chosen by others: every cell is escaped here, so that no command can forget it.
import { shownText } from '../base/shown.js';

export type Cell = string | number;

/** Characters that take two columns. */
const wide =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/gu;
const combining = /\p{M}/gu;

/** Lines of aligned columns, numbers to the right; no line break at the end. */
export function tableOf(head: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const lines = [head, ...rows.map((row) => row.map((cell) => shownText(String(cell))))];
  const widths = head.map((_, column) =>
    lines.reduce((widest, line) => Math.max(widest, widthOf(line[column] ?? '')), 0),
  );
  const toTheRight = head.map((_, column) => rows.length > 0 && typeof rows[0]?.[column] === 'number');
  return lines
    .map((line) =>
      widths
        .map((width, column) => {
          const cell = line[column] ?? '';
          const padding = ' '.repeat(width - widthOf(cell));
          return toTheRight[column] ? padding + cell : cell + padding;
        })
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function widthOf(text: string): number {
  // eslint-disable-next-line no-control-regex
  if (/^[\u0000-\u007f]*$/.test(text)) return text.length;
  const bare = text.replace(combining, '');
  return [...bare].length + (bare.match(wide)?.length ?? 0);
}
