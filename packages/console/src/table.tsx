import type { ReactNode } from 'react'

/** A heading, as text where its column is of words. */
export type Column = string | { readonly text: string; readonly kind: 'number' | 'hidden' }

/** Scrolls by itself where the screen is narrower. `children` are its rows. */
export function Table(table: { readonly label: string; readonly columns: readonly Column[]; readonly children: ReactNode }) {
  const { label, columns, children } = table
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reachable by keyboard.
    <section className="scroll" tabIndex={0} aria-label={label}>
      <table>
        <thead>
          <tr>{columns.map(heading)}</tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </section>
  )
}

export const numbers = (text: string): Column => ({ text, kind: 'number' })

function heading(column: Column) {
  const { text, kind } = typeof column === 'string' ? { text: column, kind: undefined } : column
  return (
    <th key={text} scope="col" className={kind === 'number' ? 'number' : undefined}>
      {kind === 'hidden' ? <span className="hidden">{text}</span> : text}
    </th>
  )
}
