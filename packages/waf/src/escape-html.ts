/** Text that is somebody's word, as text in HTML: in elements and in quoted attributes, where it is no markup (HTML Standard section 13.1.4). */

const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

/** Not for scripts, styles, or attributes without quotes. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ESCAPES[character] as string)
}
