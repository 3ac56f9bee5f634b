// What others name themselves must not reach a terminal as it came.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { shownJson, shownLines, shownText } from '../../src/base/shown.js';

/** What a terminal obeys, or does not show: C0, DEL, C1, separators, marks of direction and other format characters. */
// eslint-disable-next-line no-control-regex
const dangerous = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/u;

describe('text of others is shown', () => {
  it.each([
    ['a colour', 'red\u001b[31mled', 'red\\u001b[31mled'],
    ['the one-byte form of the same', 'red\u009b31mled', 'red\\u009b31mled'],
    ['a line of its own', 'shop\nready', 'shop\\nready'],
    ['a carriage return', 'shop\rready', 'shop\\u000dready'],
    ['a title of the window', '\u001b]0;owned\u0007', '\\u001b]0;owned\\u0007'],
    ['text turned round', 'pay\u202edetrevni\u202c', 'pay\\u202edetrevni\\u202c'],
    ['isolates', '\u2066a\u2069', '\\u2066a\\u2069'],
    ['a name that looks like another', 'sho\u200bp', 'sho\\u200bp'],
    ['an invisible tag', 'shop\u{e0041}', 'shop\\udb40\\udc41'],
    ['half a character', 'a\ud800', 'a\\ud800'],
    ['DEL', 'a\u007f', 'a\\u007f'],
  ])('without %s', (_what, text, shown) => {
    expect(shownText(text)).toBe(shown);
    expect(shownText(shown)).toBe(shown);
  });

  it('as it is where it is plain, in any language', () => {
    for (const text of ['zürich', 'こんにちは', 'مرحبا', 'user-service#blue', '127.0.0.1:8000', 'C:\\new\\u'])
      expect(shownText(text)).toBe(text);
  });

  it('never with what a terminal obeys, whatever it is', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(shownText(text)).not.toMatch(dangerous);
        expect(shownLines(text).replace(/[\n\t]/g, '')).not.toMatch(dangerous);
        expect(shownText(shownText(text))).toBe(shownText(text));
      }),
    );
  });

  it('in several lines where it has some', () => {
    expect(shownLines('one\n\ttwo\u001b[2J')).toBe('one\n\ttwo\\u001b[2J');
  });

  it('as JSON that means the same', () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: 'binary' }), (value) => {
        const json = shownJson(JSON.stringify(value, null, 1));
        expect(json.replaceAll('\n', '')).not.toMatch(dangerous);
        expect(JSON.stringify(JSON.parse(json))).toBe(JSON.stringify(JSON.parse(JSON.stringify(value))));
      }),
    );
  });
});
