/** Versions of releases: MAJOR.MINOR.PATCH, and what may follow a hyphen (semver.org 2.0.0, without build metadata). */

export const RELEASE_VERSION =
  /^(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})(?:-[0-9A-Za-z][0-9A-Za-z.-]{0,31})?$/
export const RELEASE_VERSION_EXPECTED = 'a version such as 0.2.0 or 1.4.0-rc.1'
/** Minor releases that nodes of one ring may be apart. */
export const RELEASES_APART_MAX = 2

/** May nodes of these versions be in one ring? Within a major version by two minor ones; of the next major version only its first minor one follows. */
export function areNear(a: string, b: string): boolean {
  const [low, high] = [numbersOf(a), numbersOf(b)].sort((x, y) => x.major - y.major || x.minor - y.minor) as [Numbers, Numbers]
  if (low.major === high.major) return high.minor - low.minor <= RELEASES_APART_MAX
  return high.major === low.major + 1 && high.minor === 0
}

interface Numbers {
  readonly major: number
  readonly minor: number
}

function numbersOf(version: string): Numbers {
  const [, major, minor] = RELEASE_VERSION.exec(version) ?? []
  return { major: Number(major), minor: Number(minor) }
}
