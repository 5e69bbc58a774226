/**
 * What a program that runs others runs, by its arguments: program and arguments of the other one, an empty list when it runs
 * none, undefined when that is not certain.
 */
export type Runner = (args: readonly string[]) => readonly string[] | undefined;

const shells = 'ash bash busybox cmd csh dash fish ksh mksh powershell pwsh rbash sh tclsh tcsh toybox yash zsh'.split(
  ' ',
);
const uncertain =
  'at batch builtin chroot chrt command coproc dbus-run-session doas entr exec fakeroot flock gdb ionice ip ld.so ltrace nsenter \
parallel pkexec prlimit run-parts runuser script setarch setpriv ssh start-stop-daemon stdbuf strace su sudo systemd-run taskset time \
trap unbuffer unshare watch xargs xvfb-run'.split(' ');

/** `find` runs or changes something with these alone. */
const actions = /^-(?:exec|execdir|ok|okdir|delete|fls|fprint|fprint0|fprintf)$/;

const runners: ReadonlyMap<string, Runner> = new Map<string, Runner>([
  ...[...shells, ...uncertain].map((name): [string, Runner] => [name, () => undefined]),
  ['env', program],
  ['nohup', program],
  ['setsid', program],
  ['nice', (args) => program(args[0] === '-n' && /^\d+$/.test(args[1] ?? '') ? args.slice(2) : args)],
  ['timeout', ([duration = '', ...args]) => (/^\d+(?:\.\d+)?[smhd]?$/.test(duration) ? program(args) : undefined)],
  ['find', (args) => (args.some((one) => actions.test(one)) ? undefined : [])],
]);

/** The name without its path and, on Windows, without its end; undefined for a program that is not known to run others. */
export function runnerOf(name: string): Runner | undefined {
  return runners.get(name) ?? (name.startsWith('ld-linux') ? () => undefined : undefined);
}

/** An option, an assignment or a pattern of file names in its place may be anything. */
function program(args: readonly string[]): readonly string[] | undefined {
  const [first = '-'] = args;
  return /^-|[=*?]/.test(first) ? undefined : args;
}
