// Two kinds of plots as SVG text: lines over two axes, each linear or logarithmic, and horizontal bars with whiskers. No scripts; hovering
// shows values through the elements' titles.

export interface Line {
  name: string;
  color: string;
  /** Drawn thicker, above the others. */
  strong?: boolean;
  points: readonly (readonly [x: number, y: number])[];
}

export interface Axis {
  label: string;
  log?: boolean;
  /** Where to draw marks, if not at round values. */
  ticks?: readonly (readonly [value: number, text: string])[];
}

export interface BarRow {
  name: string;
  color: string;
  value: number;
  /** A whisker from low to high. */
  spread?: readonly [low: number, high: number];
  text: string;
}

const width = 720;
const lineHeight = 300;
const margin = { left: 64, right: 16, top: 12, bottom: 42 };

interface Scale {
  at: (value: number) => number;
  ticks: readonly (readonly [number, string])[];
}

/** Every text that comes from a file passes through here. */
export function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}

export function lineChart(lines: readonly Line[], xAxis: Axis, yAxis: Axis): string {
  const points = lines.flatMap((line) => line.points);
  if (points.length === 0) return '<p class="soft">no data</p>';
  const x = scale(
    xAxis,
    points.map(([value]) => value),
    margin.left,
    width - margin.right,
  );
  const y = scale(
    yAxis,
    points.map(([, value]) => value),
    lineHeight - margin.bottom,
    margin.top,
  );
  const bottom = lineHeight - margin.bottom;
  const grid = [
    ...x.ticks.map(
      ([value, text]) =>
        `<line class="grid" x1="${n(x.at(value))}" x2="${n(x.at(value))}" y1="${margin.top}" y2="${bottom}"/>` +
        `<text class="tick" text-anchor="middle" x="${n(x.at(value))}" y="${bottom + 16}">${escaped(text)}</text>`,
    ),
    ...y.ticks.map(
      ([value, text]) =>
        `<line class="grid" x1="${margin.left}" x2="${width - margin.right}" y1="${n(y.at(value))}" y2="${n(y.at(value))}"/>` +
        `<text class="tick" text-anchor="end" x="${margin.left - 6}" y="${n(y.at(value) + 4)}">${escaped(text)}</text>`,
    ),
    `<text class="axis" text-anchor="middle" x="${(width + margin.left) / 2}" y="${lineHeight - 6}">${escaped(xAxis.label)}</text>`,
    `<text class="axis" text-anchor="middle" transform="translate(14 ${bottom / 2}) rotate(-90)">${escaped(yAxis.label)}</text>`,
  ];
  const drawn = [...lines].sort((a, b) => Number(a.strong ?? false) - Number(b.strong ?? false));
  const curves = drawn.map(({ name, color, strong, points: own }) => {
    const way = own.map(([px, py], i) => `${i === 0 ? 'M' : 'L'}${n(x.at(px))} ${n(y.at(py))}`).join('');
    return `<path d="${way}" fill="none" stroke="${color}" stroke-width="${strong ? 3 : 1.6}"><title>${escaped(name)}</title></path>`;
  });
  return svg(lineHeight, [...grid, ...curves].join('')) + legend(lines);
}

export function barChart(rows: readonly BarRow[], label: string): string {
  const rowHeight = 26;
  const left = 110;
  const right = width - 90;
  const height = rows.length * rowHeight + 30;
  const values = rows.flatMap(({ value, spread }) => [value, ...(spread ?? [])]);
  const low = Math.min(0, ...values);
  const high = Math.max(...values, low + 1e-9);
  const at = (value: number): number => left + ((value - low) / (high - low)) * (right - left);
  const bars = rows.map(({ name, color, value, spread, text }, row) => {
    const y = row * rowHeight + 4;
    const middle = y + 9;
    const [from, to] = [at(Math.min(0, value)), at(Math.max(0, value))];
    const whisker =
      spread === undefined
        ? ''
        : `<path class="whisker" d="M${n(at(spread[0]))} ${middle}H${n(at(spread[1]))}M${n(at(spread[0]))} ${middle - 4}v8M${n(at(spread[1]))} ${middle - 4}v8"/>`;
    const end = Math.max(to, spread === undefined ? to : at(spread[1]));
    return (
      `<text class="name" text-anchor="end" x="${left - 8}" y="${middle + 4}">${escaped(name)}</text>` +
      `<rect x="${n(from)}" y="${y}" width="${n(Math.max(1, to - from))}" height="18" fill="${color}"><title>${escaped(`${name}: ${text}`)}</title></rect>` +
      `${whisker}<text class="tick" x="${n(end + 6)}" y="${middle + 4}">${escaped(text)}</text>`
    );
  });
  const caption = `<text class="axis" text-anchor="middle" x="${(left + right) / 2}" y="${height - 6}">${escaped(label)}</text>`;
  return svg(height, bars.join('') + caption);
}

function svg(height: number, content: string): string {
  return `<svg viewBox="0 0 ${width} ${height}" role="img">${content}</svg>`;
}

function legend(lines: readonly Line[]): string {
  const entries = lines.map(
    ({ name, color }) => `<span><i style="background:${color}"></i>${escaped(name)}</span>`,
  );
  return `<p class="legend">${entries.join('')}</p>`;
}

function scale({ log, ticks }: Axis, values: readonly number[], from: number, to: number): Scale {
  const positive = log ? values.filter((value) => value > 0) : values;
  const low = log ? Math.min(...positive) : Math.min(0, ...positive);
  const high = Math.max(...positive, low + 1e-9);
  const position = log ? Math.log10 : (value: number): number => value;
  const span = position(high) - position(low) || 1;
  return {
    at: (value) =>
      from + ((position(Math.max(value, log ? low : value)) - position(low)) / span) * (to - from),
    ticks: (ticks ?? (log ? logTicks(low, high) : linearTicks(low, high))).filter(
      ([value]) => value >= low && value <= high,
    ),
  };
}

function logTicks(low: number, high: number): [number, string][] {
  const steps = high / low > 1000 ? [1] : [1, 2, 5];
  const marks: [number, string][] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    for (const step of steps) marks.push([step * 10 ** power, (step * 10 ** power).toLocaleString('en')]);
  }
  return marks;
}

function linearTicks(low: number, high: number): [number, string][] {
  const raw = (high - low) / 6;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = ([1, 2, 5, 10].find((factor) => factor * power >= raw) ?? 10) * power;
  const marks: [number, string][] = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++)
    marks.push([i * step, (i * step).toLocaleString('en')]);
  return marks;
}

function n(value: number): string {
  return value.toFixed(1);
}
