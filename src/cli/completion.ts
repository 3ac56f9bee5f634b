// Completion scripts for shells, made from the tree of commands, so that they know what the parser knows: commands, subcommands, options, and the
// values of options that have a list of them. Everything else completes to names of files. Plain functions; main.ts prints what they return.
import type { Command, Option } from 'commander';

/** The shells there are scripts for. */
export const shells = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof shells)[number];

/** A command as a script needs it; `path` is what is typed before: `ringside`, `ringside ops status`. */
interface Node {
  path: string;
  subcommands: { name: string; description: string }[];
  options: {
    long: string;
    short: string | undefined;
    description: string;
    values: readonly string[];
    takesValue: boolean;
  }[];
  /** Values of its first argument, where that has a list of them. */
  values: readonly string[];
}

/** The script for a shell, for `program` as it stands. */
export function completionScript(shell: Shell, program: Command): string {
  const nodes = nodesOf(program, program.name());
  return { bash: bashScript, zsh: zshScript, fish: fishScript }[shell](program.name(), nodes);
}

function nodesOf(command: Command, path: string): Node[] {
  const help = command.createHelp();
  const below = help.visibleCommands(command).filter((sub) => sub.name() !== 'help');
  const node: Node = {
    path,
    subcommands: below.map((sub) => ({ name: sub.name(), description: firstSentence(sub.description()) })),
    options: help.visibleOptions(command).map((option: Option) => ({
      long: option.long ?? '',
      short: option.short,
      description: firstSentence(option.description),
      values: option.argChoices ?? [],
      takesValue: option.required || option.optional,
    })),
    values: command.registeredArguments[0]?.argChoices ?? [],
  };
  return [node, ...below.flatMap((sub) => nodesOf(sub, `${path} ${sub.name()}`))];
}

/** For a menu, and safe inside single quotes of all shells. */
function firstSentence(text: string): string {
  return (/^[^.;:(]*/.exec(text)?.[0] ?? '').trim().replace(/['"`$\\[\]]/g, '');
}

const words = (list: readonly string[]): string => list.join(' ');

function bashScript(name: string, nodes: readonly Node[]): string {
  const cases = nodes.map(({ path, subcommands, options, values }) => {
    const flags = options.flatMap(({ long, short }) => (short === undefined ? [long] : [long, short]));
    const lines = [
      `    '${path}')`,
      ...options
        .filter(({ takesValue }) => takesValue)
        .map(({ long, short, values: choices }) => {
          const spelled = short === undefined ? long : `${long}|${short}`;
          const fill =
            choices.length > 0 ? `COMPREPLY=($(compgen -W '${words(choices)}' -- "$word"))` : 'COMPREPLY=()';
          return `      case $before in ${spelled}) ${fill}; return ;; esac`;
        }),
      `      if [[ $word == -* ]]; then COMPREPLY=($(compgen -W '${words(flags)}' -- "$word"))`,
      `      else COMPREPLY=($(compgen -W '${words([...subcommands.map((sub) => sub.name), ...values])}' -- "$word")); fi ;;`,
    ];
    return lines.join('\n');
  });
  const known = nodes.map(({ path }) => `'${path}'`).join('|');
  return `# bash completion for ${name}: ${name} completion bash > /etc/bash_completion.d/${name}
_${name}() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} path='${name}' i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$path \${COMP_WORDS[i]}" in ${known}) path="$path \${COMP_WORDS[i]}" ;; esac
  done
  case $path in
${cases.join('\n')}
  esac
}
complete -o default -F _${name} ${name}
`;
}

function zshScript(name: string, nodes: readonly Node[]): string {
  const cases = nodes.map(({ path, subcommands, options, values }) => {
    const described = (list: readonly { name: string; description: string }[]): string =>
      list.map((entry) => `'${entry.name}:${entry.description.replaceAll(':', '')}'`).join(' ');
    const specs = options.map(({ long, description, values: choices, takesValue }) => {
      const value = !takesValue ? '' : choices.length > 0 ? `:value:(${words(choices)})` : ':value:_files';
      return `'${long}[${description}]${value}'`;
    });
    const rest =
      subcommands.length > 0
        ? `(( CURRENT == depth + 1 )) && { local -a commands=(${described(subcommands)}); _describe command commands; return }`
        : values.length > 0
          ? `(( CURRENT == depth + 1 )) && { compadd ${words(values)}; return }`
          : '';
    return `    '${path}')\n${rest === '' ? '' : `      ${rest}\n`}      _arguments ${specs.join(' ')} '*:file:_files' ;;`;
  });
  const known = nodes.map(({ path }) => `'${path}'`).join('|');
  return `#compdef ${name}
# zsh completion for ${name}: ${name} completion zsh > "\${fpath[1]}/_${name}"
_${name}() {
  local location='${name}' depth=1 i
  for ((i = 2; i < CURRENT; i++)); do
    case "$location \${words[i]}" in (${known}) location="$location \${words[i]}"; depth=$i ;; esac
  done
  case $location in
${cases.join('\n')}
  esac
}
if [ "\${funcstack[1]}" = "_${name}" ]; then _${name} "$@"; else compdef _${name} ${name}; fi
`;
}

function fishScript(name: string, nodes: readonly Node[]): string {
  const lines = nodes.flatMap(({ path, subcommands, options, values }) => {
    const here = `complete -c ${name} -n '__${name}_at "${path}"'`;
    return [
      ...subcommands.map((sub) => `${here} -f -a ${sub.name} -d '${sub.description}'`),
      ...(values.length > 0 ? [`${here} -f -a '${words(values)}'`] : []),
      ...options.map(({ long, short, description, values: choices, takesValue }) => {
        const spelled = `-l ${long.replace(/^--/, '')}${short === undefined ? '' : ` -s ${short.slice(1)}`}`;
        const value = !takesValue ? '' : choices.length > 0 ? ` -x -a '${words(choices)}'` : ' -r';
        return `${here} ${spelled}${value} -d '${description}'`;
      }),
    ];
  });
  const known = nodes.map(({ path }) => `'${path}'`).join(' ');
  return `# fish completion for ${name}: ${name} completion fish > ~/.config/fish/completions/${name}.fish
function __${name}_at
  set -l place ${name}
  for word in (commandline -opc)[2..]
    contains -- "$place $word" ${known}; and set place "$place $word"
  end
  test "$place" = $argv[1]
end
${lines.join('\n')}
`;
}
