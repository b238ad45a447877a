import type { RingwallClient, VaultBucket, VaultNode } from '@ringwall/client'
import { Failure } from './app.tsx'
import { counted, duration, percent, size } from './format.ts'
import { Figure } from './overview.tsx'
import { useNow, usePolled } from './polling.ts'
import { accused, mendedOn, type Obstacle, obstacles, type Progress, progressText, stateOf, verdict } from './shards.ts'
import { numbers, Table } from './table.tsx'

const POLL_MS = 1_000
const BUCKETS_SHOWN = 200

export function ObjectsPage({ client }: { readonly client: RingwallClient }) {
  const shards = usePolled(() => client.vaultShards(), POLL_MS)
  const now = useNow(1_000)
  const { data } = shards
  return (
    <>
      <h1>Objects</h1>
      <Failure error={shards.error} />
      {data === undefined ? (
        <p>Asking…</p>
      ) : (
        <>
          <Verdict nodes={data.nodes} versions={data.versions} />
          <Figures {...data} />
          <Repairs nodes={data.nodes} />
          <section aria-labelledby="holders">
            <h2 id="holders">Nodes</h2>
            <NodeTable nodes={data.nodes} now={now} />
          </section>
          <Obstacles list={obstacles(data.nodes, now)} />
          <Faults nodes={data.nodes} now={now} />
          <section aria-labelledby="buckets">
            <h2 id="buckets">Buckets</h2>
            <BucketTable buckets={data.buckets} />
          </section>
        </>
      )}
    </>
  )
}

function Verdict({ nodes, versions }: { readonly nodes: readonly VaultNode[]; readonly versions: number }) {
  const { level, text } = verdict(nodes, versions)
  return (
    <p className={`verdict ${level}`} id="verdict">
      {text}
    </p>
  )
}

function Figures({
  nodes,
  versions,
  versionsMax,
  buckets,
}: {
  readonly nodes: readonly VaultNode[]
  readonly versions: number
  readonly versionsMax: number
  readonly buckets: readonly VaultBucket[]
}) {
  const standings = nodes.flatMap(({ standing }) => standing ?? [])
  const sum = (pick: (standing: (typeof standings)[number]) => number): number =>
    standings.reduce((all, standing) => all + pick(standing), 0)
  const corrupt = sum((standing) => standing.corrupt)
  return (
    <dl className="figures">
      <Figure
        name="Versions"
        value={String(versions)}
        note={`${versionsMax} at most; in ${counted(buckets.length, 'bucket')}`}
        bad={versions >= versionsMax}
      />
      <Figure
        name="Content"
        value={
          buckets.some(({ bytes }) => bytes === null) ? '–' : size(buckets.reduce((all, { bytes }) => all + (bytes ?? 0), 0))
        }
        note={`${size(sum((standing) => standing.bytes))} in shards`}
      />
      <Figure
        name="Repaired"
        value={String(sum((standing) => standing.repaired))}
        note={`${size(sum((standing) => standing.repairedBytes))}, since the nodes started`}
      />
      <Figure name="Found changed" value={String(corrupt)} note="by nodes, of their own" bad={corrupt > 0} />
    </dl>
  )
}

/** What is made anew now, node by node. */
function Repairs({ nodes }: { readonly nodes: readonly VaultNode[] }) {
  const busy = nodes.flatMap((node) => {
    const all = mendedOn(node)
    return all === undefined || node.standing === null ? [] : [{ id: node.id, all, ...node.standing }]
  })
  if (busy.length === 0) return null
  return (
    <section aria-labelledby="repairs">
      <h2 id="repairs">Being repaired</h2>
      <ul className="repairs">
        {busy.map(({ id, all, mending, repairing }) => (
          <li key={id}>
            <strong>{id}</strong>
            {mending !== null && ` ${mending.shards} of ${counted(mending.ofShards, 'shard')}, ${progressText(all)}`}
            <Bar name={`Repairs of ${id}`} {...all} />
            {repairing !== null && (
              <small>
                shard {repairing.index} of {repairing.version.slice(0, 8)}: {progressText(repairing)}
              </small>
            )}
          </li>
        ))}
      </ul>
    </section>
  )
}

function Bar({ name, bytes, of }: Progress & { readonly name: string }) {
  return (
    <progress aria-label={name} value={percent(bytes, of)} max={100}>
      {percent(bytes, of)} %
    </progress>
  )
}

function NodeTable({ nodes, now }: { readonly nodes: readonly VaultNode[]; readonly now: number }) {
  return (
    <Table
      label="Nodes and their shards"
      columns={[
        'Node',
        'State',
        numbers('Shards'),
        numbers('Held'),
        numbers('Repaired'),
        numbers('Changed'),
        numbers('Looked'),
        numbers('Compared'),
        'Store',
      ]}
    >
      {nodes.map((node) => (
        <NodeRow key={node.id} node={node} now={now} />
      ))}
    </Table>
  )
}

function NodeRow({ node, now }: { readonly node: VaultNode; readonly now: number }) {
  const { id, region, self, standing } = node
  const { level, text } = stateOf(node, now)
  const ago = (atMs: number | null): string => (atMs === null ? '–' : `${duration(now - atMs)} ago`)
  return (
    <tr>
      <td>
        {id}
        {self ? ' (this)' : ''} <span className="soft">{region}</span>
      </td>
      <td className={level}>{text}</td>
      {standing === null ? (
        <td colSpan={7}>–</td>
      ) : (
        <>
          <td className="number">{standing.shards}</td>
          <td className="number" title={`of ${size(standing.bytesMax)}`}>
            {size(standing.bytes)}
          </td>
          <td className="number">
            {standing.repaired} <span className="soft">{size(standing.repairedBytes)}</span>
          </td>
          <td className={standing.corrupt > 0 ? 'number bad' : 'number'}>{standing.corrupt}</td>
          <td className="number">{ago(standing.passedAtMs)}</td>
          <td className="number">{standing.uncompared > 0 ? `${standing.uncompared} left` : ago(standing.comparedAtMs)}</td>
          <td className="path">{standing.store}</td>
        </>
      )}
    </tr>
  )
}

/** What waits, and why. */
function Obstacles({ list }: { readonly list: readonly Obstacle[] }) {
  if (list.length === 0) return null
  return (
    <section aria-labelledby="waits">
      <h2 id="waits">Waiting</h2>
      <ul className="problems">
        {list.map(({ node, version, level, text }) => (
          <li key={`${node} ${version ?? ''}`} className={level}>
            <strong>{node}</strong> {version === undefined ? text : `version ${version.slice(0, 8)}: ${text}`}
          </li>
        ))}
      </ul>
    </section>
  )
}

/** Whose shards were wrong or missing when others asked for them, and who says so. */
function Faults({ nodes, now }: { readonly nodes: readonly VaultNode[]; readonly now: number }) {
  const list = accused(nodes)
  if (list.length === 0) return null
  return (
    <section aria-labelledby="faults">
      <h2 id="faults">Wrong and missing shards</h2>
      <Table
        label="Nodes that gave wrong shards, or none"
        columns={['Node', numbers('Wrong'), numbers('Missing'), numbers('Last'), 'Says']}
      >
        {list.map(({ party, wrong, missing, lastAtMs, by }) => (
          <tr key={party}>
            <td>{party}</td>
            <td className={wrong > 0 ? 'number bad' : 'number'}>{wrong}</td>
            <td className="number">{missing}</td>
            <td className="number">{duration(now - lastAtMs)} ago</td>
            <td>{by.join(' ')}</td>
          </tr>
        ))}
      </Table>
    </section>
  )
}

function BucketTable({ buckets }: { readonly buckets: readonly VaultBucket[] }) {
  if (buckets.length === 0) return <p>There are none.</p>
  return (
    <>
      <Table
        label="Buckets and their versions"
        columns={['Bucket', numbers('Versions'), numbers('Content'), 'Enough', 'Regions', 'Versioning']}
      >
        {buckets.slice(0, BUCKETS_SHOWN).map(({ name, versions, bytes, data, shards, residency, versioning }) => (
          <tr key={name}>
            <td>{name}</td>
            <td className="number">{versions}</td>
            <td className="number">{bytes === null ? '–' : size(bytes)}</td>
            <td>
              {data} of {counted(shards, 'shard')}
            </td>
            <td>{residency.length === 0 ? 'any' : residency.join(' ')}</td>
            <td>{versioning}</td>
          </tr>
        ))}
      </Table>
      {buckets.length > BUCKETS_SHOWN && <p>and {buckets.length - BUCKETS_SHOWN} more</p>}
    </>
  )
}
