/** `npm run generate`: writes the files that are made from others. `tools/generate.test.ts` checks that they are current. */
import { writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { policyJsonSchema } from '@ringwall/ring'
import { clientTypes } from './generate-client.ts'

const root = resolve(import.meta.dirname, '..')

/** Path and content of each. */
export const generated: Readonly<Record<string, () => string>> = {
  'packages/client/src/api.generated.ts': clientTypes,
  'packages/ring/schema/ringwall.schema.json': () => `${JSON.stringify(policyJsonSchema(), undefined, 2)}\n`,
}

if (import.meta.main) {
  for (const [path, content] of Object.entries(generated)) {
    writeFileSync(join(root, path), content())
    process.stdout.write(`${path}\n`)
  }
}
