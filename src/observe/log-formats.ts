// How lines of the log look. Apart from the logger, because the command line names them in its help.

/** `json`: an object each; `pretty`: text for people. */
export const logFormats = ['json', 'pretty'] as const;
export type LogFormat = (typeof logFormats)[number];
