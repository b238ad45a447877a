/** What was said of labels, holds, releases and updates, in a line for people. */
import type { FleetStatement } from '@ringwall/ring'

export function summarizeFleet(body: FleetStatement): string {
  switch (body.type) {
    case 'fleet.label': {
      const what = [...body.set, ...body.unset.map((key) => `${key}-`)].join(', ')
      return `${body.of === 'device' ? 'the device ' : ''}${body.id} is labelled ${what}: ${body.reason}`
    }
    case 'fleet.hold': {
      const how = { cordon: 'cordoned', drain: 'drained', none: 'no longer held' }[body.kind]
      return `${body.id} is ${how}${body.ttlMs === 0 ? '' : ` for ${Math.round(body.ttlMs / 1_000)} s`}: ${body.reason}`
    }
    case 'fleet.report': {
      const how = { trying: 'tries out', running: 'runs', failed: 'gave up' }[body.how]
      return `${how} ${body.version}: ${body.reason}`
    }
    case 'fleet.resume':
      return `nodes that failed with ${body.version} may try again: ${body.reason}`
    case 'release.add':
      return `release ${body.header.version}, ${body.header.files} files: ${body.reason}`
    case 'release.remove':
      return `no more release ${body.version}: ${body.reason}`
  }
}
