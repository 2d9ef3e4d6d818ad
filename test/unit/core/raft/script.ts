/**
 * A script is a list of steps, divided by empty lines. A step has comments, commands, a line of dashes, and what the
 * commands are expected to print. Nothing expected: nothing is printed.
 */
export interface Step {
  comments: string[]
  commands: string[]
  expected: string[]
}

const divider = '----'

export function parseScript(text: string): Step[] {
  return text
    .split(/\n\n+/)
    .map(block => block.split('\n').filter(line => line !== ''))
    .filter(lines => lines.length > 0)
    .map(lines => {
      const at = lines.indexOf(divider)
      const head = at < 0 ? lines : lines.slice(0, at)
      return {
        comments: head.filter(line => line.startsWith('#')),
        commands: head.filter(line => !line.startsWith('#')),
        expected: at < 0 ? [] : lines.slice(at + 1),
      }
    })
}

export const formatScript = (steps: readonly Step[]): string =>
  `${steps
    .map(({ comments, commands, expected }) =>
      [...comments, ...commands, ...(expected.length > 0 ? [divider, ...expected] : [])].join('\n'),
    )
    .join('\n\n')}\n`
