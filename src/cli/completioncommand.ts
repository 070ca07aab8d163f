/** `oomscope completion`: what a shell needs to complete commands, options and names. The answers come from `oomscope __complete`. */
import { type CommandSpec, type Given, UsageError } from "./arguments.ts";
import { EXIT, type Command, type World } from "./command.ts";
import { shown } from "./text.ts";

const spec: CommandSpec = {
  name: "completion",
  summary: "Print what your shell needs to complete oomscope's words",
  usage: "SHELL",
  about:
    "Prints a script for bash, zsh or fish: commands, options, kinds of workloads, and the names of investigations, which are asked of the cluster. kubectl oomscope completes by itself where kubectl's own completion is set up and kubectl_complete-oomscope is on the PATH, as npm link puts it.",
  operands: ["SHELL"],
  options: {},
  examples: [
    ["source <(oomscope completion bash)", "In ~/.bashrc."],
    ["source <(oomscope completion zsh)", "In ~/.zshrc, after compinit."],
    ["oomscope completion fish > ~/.config/fish/completions/oomscope.fish", "Once."],
  ],
};

/** Where nothing is answered, the shell's own completion of files takes over. A kind is followed by a name, without a blank. */
const SCRIPTS: Readonly<Record<string, string>> = {
  bash: `_oomscope() {
  local IFS=$'\\n'
  COMPREPLY=($(oomscope __complete "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
  if [[ "\${COMPREPLY[0]}" == */ ]]; then compopt -o nospace 2>/dev/null; fi
}
complete -o default -F _oomscope oomscope
`,
  zsh: `#compdef oomscope
_oomscope() {
  local -a found
  found=("\${(@f)$(oomscope __complete "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -z "\${found[1]}" ]]; then _files
  elif [[ "\${found[1]}" == */ ]]; then compadd -S '' -- "\${found[@]}"
  else compadd -- "\${found[@]}"; fi
}
compdef _oomscope oomscope
`,
  fish: `complete -c oomscope -a '(oomscope __complete (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
`,
};

function run({ operands: [shell = ""] }: Given, { terminal }: World): Promise<number> {
  const script = Object.hasOwn(SCRIPTS, shell) ? SCRIPTS[shell] : undefined;
  if (script === undefined) throw new UsageError(`There is no completion for ${shown(shell)}: write bash, zsh or fish`);
  terminal.print(script);
  return Promise.resolve(EXIT.done);
}

export const completionCommand: Command = { spec, run };
