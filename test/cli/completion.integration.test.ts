/** The shells' own completion, by the scripts that `oomscope completion` prints: the real shells and the real process. */
import { execFile, execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const execute = promisify(execFile);
const main = join(import.meta.dirname, "..", "..", "src", "cli", "main.ts");

describe("in the shells", () => {
  let folder: string;
  let env: NodeJS.ProcessEnv;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "oomscope-completion-"));
    writeFileSync(join(folder, "oomscope"), `#!/bin/sh\nexec "${process.execPath}" "${main}" "$@"\n`, { mode: 0o755 });
    env = { ...process.env, PATH: `${folder}:${process.env["PATH"] ?? ""}`, HOME: folder };
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const has = (shell: string): boolean => {
    try {
      execFileSync("sh", ["-c", `command -v ${shell}`]);
      return true;
    } catch {
      return false;
    }
  };

  test("bash", async () => {
    const script = `source <(oomscope completion bash); COMP_WORDS=(oomscope explain d); COMP_CWORD=2; _oomscope; printf '%s\\n' "\${COMPREPLY[@]}"`;
    expect((await execute("bash", ["-c", script], { env })).stdout).toBe("deployment/\ndaemonset/\n");
  });

  test.skipIf(!has("fish"))("fish", async () => {
    const script = "oomscope completion fish | source; complete --do-complete='oomscope explain da'";
    expect((await execute("fish", ["-c", script], { env })).stdout).toBe("daemonset/\n");
  });

  test.skipIf(!has("zsh"))("zsh takes the script", async () => {
    const script = `autoload -Uz compinit && compinit -u -d "$HOME/dump"; source <(oomscope completion zsh); print -r -- $_comps[oomscope]; compadd() { print -rl -- "\${@[2,-1]}" }; words=(oomscope completion z); CURRENT=3; _oomscope`;
    expect((await execute("zsh", ["-c", script], { env })).stdout).toBe("_oomscope\nzsh\n");
  });

  test("kubectl asks a program of its own name", async () => {
    const plugin = join(folder, "kubectl_complete-oomscope");
    symlinkSync(main, plugin);
    const { stdout } = await execute(process.execPath, [plugin, "completion", "f"], { env });
    expect(stdout).toBe("fish\n");
  });
});
