/** The program of one node: `node main.ts --config FILE`. */
import { runNode } from './run-node.ts'

const [flag, file] = process.argv.slice(2)
if (flag !== '--config' || file === undefined) {
  process.stderr.write('usage: main.ts --config FILE\n')
  process.exit(2)
}
// Traffic must not end because whoever read the log did.
process.stdout.on('error', () => undefined)
process.stderr.on('error', () => undefined)
process.exit(await runNode(file))
