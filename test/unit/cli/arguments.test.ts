import t from 'tap'
import { Mistakes } from '../../../src/cli/format/failure.js'
import { parseCommandLine } from '../../../src/cli/scli/arguments.js'
import { commands } from '../../../src/cli/scli/commands/index.js'

const parse = (line: string) => parseCommandLine(line.split(' ').filter(Boolean), commands)
const run = (line: string) => {
  const parsed = parse(line)
  if (parsed.kind !== 'run') throw new Error('help was not expected')
  return { verb: parsed.invocation.command.verb, ...parsed.invocation }
}
const mistakesOf = (line: string): string[] => {
  try {
    parse(line)
  } catch (error) {
    if (error instanceof Mistakes) return error.mistakes
    throw error
  }
  return []
}

t.test('scli: both spellings of a command are the same command with the same values', async t => {
  const product = run('--add_volume --storage_pool_name pool1 --volume_name vol1 --size_gb 8 --thin_provisioned')
  const ours = run('volume add --storage_pool_name pool1 --name vol1 --size-gb=8 --thin')
  t.equal(ours.verb, 'add_volume')
  t.equal(product.verb, 'add_volume')
  t.same(ours.values, product.values)
})

t.test('scli: the verb may stand anywhere, and global options beside it', async t => {
  const { verb, globals } = run('--mdm_ip 10.0.0.1,10.0.0.2:7000 --query_all_sds --json')
  t.equal(verb, 'query_all_sds')
  t.same(globals.mdm_ip, [
    { host: '10.0.0.1', port: 6611 },
    { host: '10.0.0.2', port: 7000 },
  ])
  t.equal(globals.json, true)
})

t.test('scli: list and show stand for query-all and query', async t => {
  t.equal(run('volume list').verb, 'query_all_volumes')
  t.equal(run('volume show --name vol1').verb, 'query_volume')
})

t.test('scli: every mistake of a command line is reported at once', async t => {
  const mistakes = mistakesOf('--add_volume --volume_nam vol1 --size_gb many --thin_provisioned --thick_provisioned x')
  t.equal(mistakes.length, 6)
  t.match(mistakes.join('\n'), /no option --volume_nam; did you mean .*--volume_name/)
  t.match(mistakes.join('\n'), /--size_gb "many"/)
  t.match(mistakes.join('\n'), /"x" is not expected/)
  t.match(mistakes.join('\n'), /--thin_provisioned and --thick_provisioned exclude each other/)
  t.match(mistakes.join('\n'), /--volume_name is required/)
  t.match(mistakes.join('\n'), /one of --storage_pool_id, --storage_pool_name is required/)
})

t.test('scli: an unknown command names the near ones', async t => {
  t.match(mistakesOf('--query_al'), [/no command --query_al; did you mean .*--query_all/])
  t.match(mistakesOf('volum add'), [/did you mean volume\?/])
  t.match(mistakesOf('volume ad'), [/volume has no action "ad"; did you mean add/])
  t.match(mistakesOf('volume'), [/"volume" needs an action/])
  t.match(mistakesOf('--json'), [/no command is given/])
})

t.test('scli: an option twice, without its value, or a flag with one, is a mistake', async t => {
  t.match(mistakesOf('--query_volume --volume_name a --volume_name b'), [/--volume_name is given twice/])
  t.match(mistakesOf('--query_volume --volume_name'), [/--volume_name needs a value: --volume_name <NAME>/])
  t.match(mistakesOf('--query_all --json=yes'), [/--json takes no value/])
  t.match(mistakesOf('--query_volume --volume_id 12'), [/an id is 16 hexadecimal digits/])
  t.match(mistakesOf('--query_all --dir /d --mdm_ip h'), [/both say where the MDM is/])
})

t.test('scli: no arguments and --help give help, on everything, a noun or a command', async t => {
  t.same(parse(''), { kind: 'help', topic: null })
  t.same(parse('--help'), { kind: 'help', topic: null })
  t.same(parse('volume --help'), { kind: 'help', topic: 'volume' })
  t.match(parse('volume add --help'), { kind: 'help', topic: { verb: 'add_volume' } })
  t.match(parse('--add_volume --nonsense -h'), { kind: 'help', topic: { verb: 'add_volume' } })
})
