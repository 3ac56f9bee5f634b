// How text that others chose (names of apps and services, addresses, error texts) reaches a terminal: with everything escaped that a terminal would obey or hide,
// so that nobody can clear a screen, colour a line, forge another one or turn one round by a name. Used by all commands, by the log and
// by what the SDK writes to standard error. What must stay true: plain text, of any language, is shown as it is, and escaping twice changes nothing.

/** Control characters, line and paragraph separators, halves of characters, and what is not seen itself: marks of direction, joiners, tags. */
const unseen = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
/** The same but for line breaks and tabs. */
// eslint-disable-next-line no-control-regex
const unseenButLines = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

function escaped(characters: string): string {
  let text = '';
  for (let i = 0; i < characters.length; i++)
    text += `\\u${characters.charCodeAt(i).toString(16).padStart(4, '0')}`;
  return text;
}

/** `text` on one line, `\u001b` and the like in the place of what a terminal would obey or hide. */
export function shownText(text: string): string {
  return text.replace(unseen, (found) => (found === '\n' ? '\\n' : found === '\t' ? '\\t' : escaped(found)));
}

/** As shownText(), for texts of several lines: line breaks and tabs stay. */
export function shownLines(text: string): string {
  return text.replace(unseenButLines, escaped);
}

/** JSON text with the same characters escaped: it still means the same. */
export function shownJson(json: string): string {
  return json.replace(unseenButLines, escaped);
}
