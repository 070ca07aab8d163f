/** What the shells are told, from the tables that parse a command. */
import { describe, expect, test } from "vitest";
import { candidates } from "../../src/cli/complete.ts";
import { completionCommand } from "../../src/cli/completioncommand.ts";
import { runCommand } from "./world.ts";

describe("what may come next", () => {
  test.each<[string, string[], string[]]>([
    ["commands", ["re"], ["report", "release"]],
    ["commands to explain", ["help", "wat"], ["watch"]],
    ["options", ["list", "--all"], ["--all-namespaces"]],
    ["values of an option", ["show", "x", "-o", ""], ["json", "yaml", "name"]],
    ["values of a long option", ["list", "--output", "w"], ["wide"]],
    ["kinds of workloads", ["explain", "-n", "media", "d"], ["deployment/", "daemonset/"]],
    ["actions", ["approve", "thumbs-1", "-n", "media", "R"], ["Rollback", "Resize", "Restart"]],
    ["shells", ["completion", ""], ["bash", "zsh", "fish"]],
    ["nothing for what is free text", ["list", "-n", ""], []],
    ["nothing for files", ["report", ""], []],
    ["nothing for what is no command", ["toString", ""], []],
  ])("%s", (_title, typed, words) => {
    expect(candidates(typed)).toEqual({ words });
  });

  test("names of investigations are asked of the cluster that was named", () => {
    expect(candidates(["show", "-n", "media", "--no-color", "--context", "prod", "th"])).toEqual({
      words: [],
      investigations: ["-n", "media", "--context", "prod"],
    });
  });
});

test("another shell is refused with those that there are", async () => {
  const roots = { proc: "/nowhere", cgroup: "/nowhere", kmsg: "/nowhere" };
  await expect(runCommand(completionCommand, roots, ["tcsh"])).rejects.toThrow("write bash, zsh or fish");
});
