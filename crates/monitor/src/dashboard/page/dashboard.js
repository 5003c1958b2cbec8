// Polls /usage.json and shows it. The server sorts, filters and computes. All names are text: some were
// chosen by strangers.
'use strict';

const POLL = 2_000, DRAW = 10_000, TIMEOUT = 10_000, ROWS = 100, MINUTES = 60;
const KINDS = ['services', 'composites', 'upstreams'];
const $ = (id) => document.getElementById(id);

// The state, which is in the fragment.

const hash = () => new URLSearchParams(location.hash.slice(1));

function state() {
  const now = hash();
  const kind = KINDS.find((kind) => now.has(kind));
  const known = (value, all, otherwise) => all.includes(value) ? value : otherwise;
  return {
    kind,
    only: kind ? now.get(kind) : '',
    q: now.get('q') ?? '',
    sort: known(now.get('sort'), SORTS, 'exception_ratio'),
    span: known(now.get('span'), [...$('span').options].map((it) => it.value), '300'),
    paused: now.has('paused'),
  };
}

function hashWith(changes) {
  const next = hash();
  for (const [name, value] of Object.entries(changes)) {
    value ? next.set(name, value) : next.delete(name);
  }
  return '#' + next;
}

function go(changes) {
  history.replaceState(null, '', hashWith(changes));
  changed();
}

// Texts.

const visible = (name) => name.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
  (char) => `\\u{${char.codePointAt(0).toString(16)}}`);
const number = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const few = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 });
const clock = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' });

function latency(seconds) {
  if (seconds == null) return '–';
  const [unit, factor] = seconds >= 1 ? ['s', 1] : seconds >= 0.001 ? ['ms', 1e3] : ['µs', 1e6];
  return `${few.format(seconds * factor)} ${unit}`;
}

function since(at, now) {
  const ago = Math.max(0, now - at);
  const [unit, size] = ago < 120 ? ['s', 1] : ago < 7_200 ? ['min', 60] : ago < 172_800 ? ['h', 3_600] : ['d', 86_400];
  const when = new Date(at * 1_000);
  const day = ago < 43_200 ? '' : when.toISOString().slice(0, 10) + ' ';
  return `since ${day}${clock.format(when)}, ${Math.floor(ago / size)} ${unit}`;
}

const calls = (of) => of.success + of.failure + of.exception + of.cancelled + of.rejected;
const rate = (of) => of.seconds ? few.format(calls(of) / of.seconds) : '–';
const count = (value) => value ? number.format(value) : '0';
const average = (of) => {
  const judged = calls(of) - of.rejected;
  return judged ? of.latency.sum_seconds / judged : null;
};
const reasons = (of, most = 99) => Object.entries(of.rejected_by)
  .sort((a, b) => b[1] - a[1]).slice(0, most)
  .map(([reason, times]) => `${reason} ${number.format(times)}`).join(', ');

// Elements. Nothing is written that has not changed.

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function put(element, text, small = '', className = '') {
  const shown = [text, small, className].join('\0');
  if (element.shown === shown) return;
  element.shown = shown;
  element.replaceChildren(text, ...(small ? [' ', make('small', { textContent: small })] : []));
  element.className = className;
}

function exceptions(cell, of) {
  const judged = calls(of) - of.rejected;
  const share = judged ? of.exception / judged * 100 : 0;
  put(cell, `${few.format(share)} %`, of.exception ? `(${number.format(of.exception)})` : '', share ? 'fail' : '');
}

// Each column: its title, by what the server sorts it, and how a cell of it is filled.
const NAME = ['Name', 'name', null];
const RECENT = [
  ['Calls/s', 'calls', (cell, one) => put(cell, rate(one.recent))],
  ['Exceptions', 'exception_ratio', (cell, one) => exceptions(cell, one.recent)],
  ['Failures', 'failure', (cell, one) => put(cell, count(one.recent.failure))],
  ['Rejected', 'rejected', (cell, one) => put(cell, count(one.recent.rejected))],
  ['p50', 'p50', (cell, one) => put(cell, latency(one.recent.p50_seconds))],
  ['p99', 'p99', (cell, one) => put(cell, latency(one.recent.p99_seconds))],
];
const EXTREMES = [
  ['Min', '', (cell, one) => put(cell, latency(one.total.latency.min_seconds))],
  ['Avg', 'avg', (cell, one) => put(cell, latency(average(one.total)))],
  ['Max', 'max', (cell, one) => put(cell, latency(one.total.latency.max_seconds))],
];
const IN_FLIGHT = ['In flight', 'in_flight', (cell, one) => put(cell, count(one.total.in_flight))];
const ALL_CALLS = ['All calls', '', (cell, one) => put(cell, count(calls(one.total)))];
const CONTEXTS = [NAME, ['Last hour', '', spark], ...RECENT, IN_FLIGHT, ALL_CALLS].map((column) =>
  column[0] !== 'Rejected' ? column : [...column.slice(0, 2), (cell, one) => {
    const by = reasons(one.total, 2);
    put(cell, count(one.recent.rejected), by && `ever: ${by}`, 'reasons');
  }]);
const METHODS = [NAME, ...RECENT, ...EXTREMES, ALL_CALLS];
const CLIENTS = [
  NAME,
  ['Calls', 'calls', ALL_CALLS[2]],
  IN_FLIGHT,
  ['Exceptions', 'exception_ratio', (cell, one) => exceptions(cell, one.total)],
  ['Failures', 'failure', (cell, one) => put(cell, count(one.total.failure))],
  ['Rejected', 'rejected', (cell, one) => put(cell, count(one.total.rejected), reasons(one.total, 2), 'reasons')],
  ...EXTREMES,
];
const SORTS = [...CONTEXTS, ...METHODS, ...CLIENTS].map(([, sort]) => sort).filter(Boolean);

/** Fills a table; rows keep their elements, and with them the focus. */
function fill(table, columns, rows, sort, kind) {
  table.parentElement.hidden = !rows.length;
  if (!table.tHead) {
    const head = table.createTHead().insertRow();
    for (const [title, by] of columns) {
      const inside = by ? make('button', { type: 'button', onclick: () => go({ sort: by }) }, title) : title;
      head.append(make('th', { scope: 'col' }, inside));
    }
    table.createTBody();
    table.known = new Map();
  }
  columns.forEach(([, by], index) => {
    const head = table.tHead.rows[0].cells[index];
    by && by === sort
      ? head.setAttribute('aria-sort', by === 'name' ? 'ascending' : 'descending')
      : head.removeAttribute('aria-sort');
  });
  const body = table.tBodies[0], before = table.known, focused = document.activeElement;
  table.known = new Map();
  rows.forEach((one, index) => {
    const key = one.label ?? 'name:' + one.name;
    const row = before.get(key) ?? make('tr', {}, make('th', { scope: 'row' }, make(kind ? 'a' : one.label ? 'em' : 'span')),
      ...columns.slice(1).map(() => make('td')));
    table.known.set(key, row);
    const name = row.cells[0].firstChild;
    put(name, one.label ?? (visible(one.name) || '(no name)'));
    if (kind) name.href = hashWith({ [kind]: one.name, q: '' });
    columns.forEach(([, , show], cell) => show?.(row.cells[cell], one));
    if (body.rows[index] !== row) body.insertBefore(row, body.rows[index] ?? null);
  });
  while (body.rows.length > rows.length) body.lastElementChild.remove();
  if (document.activeElement !== focused && focused.isConnected) focused.focus({ preventScroll: true });
}

// Drawings of the last hour, a minute a point.

let hours = {};

function minutes(one, value) {
  const points = new Array(MINUTES).fill(0);
  for (const step of one?.steps ?? []) {
    const index = MINUTES - 1 - Math.floor((hours.at - step.at - 1) / 60);
    if (index >= 0 && index < MINUTES) points[index] = value(step);
  }
  return points;
}

function draw(svg, series, most) {
  svg.setAttribute('viewBox', `0 0 ${MINUTES - 1} 1`);
  svg.setAttribute('preserveAspectRatio', 'none');
  const paths = series.flatMap(([className, points]) => {
    const line = points.map((value, index) => `${index} ${(1 - 0.96 * value / (most || 1)).toFixed(3)}`).join('L');
    return [[`${className} area`, `M0 1L${line}L${MINUTES - 1} 1Z`], [className, `M${line}`]];
  });
  paths.forEach(([className, d], index) => {
    const path = svg.children[index] ?? svg.appendChild(document.createElementNS(svg.namespaceURI, 'path'));
    path.setAttribute('class', className);
    path.setAttribute('d', d);
  });
}

const perSecond = (value) => (step) => step.seconds ? value(step) / step.seconds : 0;

function drawRates(svg, one) {
  const all = minutes(one, perSecond(calls)), bad = minutes(one, perSecond((step) => step.exception));
  const most = Math.max(...all);
  draw(svg, [['calls', all], ['exceptions', bad]], most);
  svg.setAttribute('aria-label',
    `Last hour: at most ${few.format(most)} calls and ${few.format(Math.max(...bad))} exceptions per second`);
  return most;
}

function spark(cell, one) {
  if (!cell.firstChild) {
    const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    svg.setAttribute('class', 'spark');
    svg.setAttribute('role', 'img');
    cell.append(svg);
  }
  drawRates(cell.firstChild, hours[one.kind]?.find(({ name }) => name === one.name));
}

// What the server has said.

function showHealth({ health, at }) {
  const names = (status) => health.filter((check) => check.status === status).map((check) => check.name);
  const [failing, warned] = [names('fail'), names('warn')];
  const [mark, text, status] = failing.length ? ['✗', `Failing: ${failing.join(', ')}`, 'fail']
    : warned.length ? ['!', `Enforcing, with warnings: ${warned.join(', ')}`, 'warn']
    : health.length ? ['✓', 'Enforcing: all checks pass', 'pass']
    : ['?', 'No health checks: Monitor::add_health adds them', ''];
  put($('enforcing'), `${mark} ${text}`, '', status);
  document.title = `${mark} ${text}`;
  const list = $('checks');
  health.forEach((check, index) => {
    const item = list.children[index] ?? list.appendChild(make('li', {}, make('b'), make('small'), make('span'), make('small')));
    const [name, which, output, time] = item.children;
    put(name, visible(check.name));
    put(which, visible(check.of ?? ''));
    put(output, `${{ pass: '✓', warn: '!', fail: '✗' }[check.status]} ${visible(check.output)}`, '', check.status);
    put(time, check.since == null ? '' : since(check.since, at));
    item.className = check.status;
  });
  while (list.children.length > health.length) list.lastElementChild.remove();
}

function showOverview(usage, { sort, q }) {
  for (const kind of KINDS) {
    const all = (usage[kind] ?? []).map((one) => ({ ...one, kind }));
    fill($(kind), CONTEXTS, all, sort, kind);
  }
  return KINDS.some((kind) => usage[kind]?.length) ? ''
    : q ? `Nothing matches “${visible(q)}”.` : 'Nothing is counted yet.';
}

function showDetail(usage, { kind, only, sort, q }) {
  const one = usage[kind]?.find(({ name }) => name === only);
  put($('name'), visible(only));
  $('back').href = hashWith({ [kind]: '', q: '' });
  for (const id of ['facts', 'rates', 'latencies']) $(id).hidden = !one;
  if (!one) {
    for (const id of ['methods', 'clients']) $(id).parentElement.hidden = true;
    put($('found'), '');
    return `There is no such name among the ${kind}.`;
  }
  const { total, recent } = one;
  const facts = {
    'Calls/s': rate(recent), p50: latency(recent.p50_seconds), p99: latency(recent.p99_seconds),
    'In flight': count(total.in_flight), 'All calls': count(calls(total)), Exceptions: count(total.exception),
    Failures: count(total.failure), Cancelled: count(total.cancelled), Rejected: count(total.rejected),
    ...(kind === 'composites' && { 'Late parts': count(one.late) }),
    ...(total.live_streams && { 'Live streams': count(total.live_streams) }),
    'Rejected by reason': reasons(total) || '–',
    'Min / avg / max': [total.latency.min_seconds, average(total), total.latency.max_seconds].map(latency).join(' / '),
  };
  Object.entries(facts).forEach(([title, value], index) => {
    const pair = $('facts').children[index] ?? $('facts').appendChild(make('div', {}, make('dt'), make('dd')));
    put(pair.children[0], title);
    put(pair.children[1], value);
  });
  while ($('facts').children.length > Object.keys(facts).length) $('facts').lastElementChild.remove();
  const past = hours[kind]?.find(({ name }) => name === only);
  put($('most-calls'), few.format(drawRates($('rate-chart'), past)));
  const [p50, p99] = ['p50_seconds', 'p99_seconds'].map((name) => minutes(past, (step) => step[name] ?? 0));
  const slowest = Math.max(...p99);
  draw($('latency-chart'), [['p99', p99], ['calls', p50]], slowest);
  $('latency-chart').setAttribute('aria-label', `Last hour: p99 at most ${latency(slowest)}, p50 at most ${latency(Math.max(...p50))}`);
  put($('most-latency'), latency(slowest));
  const others = q ? [] : [['(no verified client)', one.anonymous], ['(all other clients)', one.other]];
  fill($('methods'), METHODS, one.methods, sort);
  fill($('clients'), CLIENTS, [...one.clients, ...others.filter(([, total]) => calls(total) || total.in_flight)
    .map(([label, total]) => ({ label, total }))], sort);
  const found = `${number.format(one.clients_found)} clients${q ? ' match' : ''}`;
  put($('found'), one.clients_found > one.clients.length ? `${found}; the first ${one.clients.length} are shown: search for others.` : `${found}.`);
  return '';
}

function say(text, className = '') {
  put($('connection'), text, '', className);
  document.querySelector('main').classList.toggle('stale', className === 'fail');
}

function signIn(text) {
  $('sign-in').hidden = false;
  $('data').hidden = true;
  say(text);
  $('token').focus();
}

// Polling.

let authorization = '', timer, current, lostAt;

async function get(query, signal) {
  const headers = authorization ? { authorization } : {};
  const url = 'usage.json?' + new URLSearchParams(query);
  signal = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT)]);
  const response = await fetch(url, { headers, signal, cache: 'no-store', credentials: 'omit', redirect: 'error' });
  if (response.ok) return response.json();
  throw Object.assign(new Error(), { status: response.status, text: (await response.text()).slice(0, 200).trim() });
}

async function poll() {
  clearTimeout(timer);
  current?.abort();
  const mine = current = new AbortController();
  const now = state(), { only, q, sort, span } = now;
  try {
    const usage = await get({ only, q, sort, span, limit: now.kind ? ROWS : 0 }, mine.signal);
    if (usage.version !== 1) throw Object.assign(new Error(), { status: 200, text: 'another version: reload the page' });
    if (hours.only !== only || Date.now() - hours.readAt > DRAW) {
      const past = await get({ only, span: 3_600, steps: MINUTES, limit: 0 }, mine.signal);
      hours = { ...past, only, readAt: Date.now() };
    }
    lostAt = null;
    $('sign-in').hidden = true;
    $('data').hidden = false;
    $('overview').hidden = Boolean(now.kind);
    $('detail').hidden = !now.kind;
    showHealth(usage);
    say(now.kind ? showDetail(usage, now) : showOverview(usage, now));
    put($('updated'), `${now.paused ? 'paused at' : 'updated'} ${clock.format(new Date())}`);
  } catch (error) {
    if (mine !== current) return;
    if ([401, 403].includes(error.status)) {
      return signIn(authorization ? `The token was rejected: ${error.status}.` : 'Sign in to see the monitor.');
    }
    lostAt ??= clock.format(new Date());
    const again = now.paused ? '' : ' Trying again.';
    say(error.status ? `The server responded with ${error.status}: ${visible(error.text)}.${again}` : `Disconnected since ${lostAt}.${again}`, 'fail');
  }
  if (mine === current && !now.paused) timer = setTimeout(next, POLL);
}

const next = () => document.hidden ? timer = setTimeout(next, POLL) : poll();

function changed() {
  const { q, span, paused } = state();
  if ($('q').value !== q) $('q').value = q;
  $('span').value = span;
  $('pause').setAttribute('aria-pressed', paused);
  poll();
}

$('host').textContent = location.host;
$('q').addEventListener('input', (event) => go({ q: event.target.value }));
$('span').addEventListener('change', (event) => go({ span: event.target.value }));
$('pause').addEventListener('click', () => go({ paused: state().paused ? '' : '1' }));
$('controls').addEventListener('submit', (event) => event.preventDefault());
$('sign-in').addEventListener('submit', (event) => {
  event.preventDefault();
  const entered = $('token').value.trim();
  authorization = /\s/.test(entered) ? entered : `Bearer ${entered}`;
  $('token').value = '';
  poll();
});
addEventListener('hashchange', changed);
changed();
