// What an edge gives its threads by --import: TypeScript is loaded from a folder that holds it as plain JavaScript. The engine's own cache of
// compiled code would do, but keeps all that it holds in memory besides what was loaded from it: 9 MB. JavaScript, since what strips types is
// what must not be loaded, another 20 MB.
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { registerHooks, stripTypeScriptTypes } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { threadId } from 'node:worker_threads'

const folder = process.env.RINGWALL_PLAIN

/** Found by what it was made of, and by which engine: whatever changes is made anew. */
function plainOf(source) {
  const name = createHash('sha256').update(process.version).update(source).digest('hex')
  const file = join(folder, `${name}.js`)
  try {
    // A byte a character: half of what the engine would take for text that has others.
    return readFileSync(file, 'latin1')
  } catch {
    const plain = stripTypeScriptTypes(source, { mode: 'transform' })
    const text = plain.replace(/[^\x00-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 })
      const passing = `${file}.${process.pid}.${threadId}`
      writeFileSync(passing, text, { mode: 0o600 })
      renameSync(passing, file)
    } catch {
      // Without room for it each start makes it.
    }
    return text
  }
}

if (folder !== undefined)
  registerHooks({
    load(url, context, next) {
      if (!url.startsWith('file:') || !url.endsWith('.ts')) return next(url, context)
      return { format: 'module', source: plainOf(readFileSync(fileURLToPath(url), 'utf8')), shortCircuit: true }
    },
  })
