// Sizes, rates, times and sentences for people, in the words of the command-line client.
//
// Units are decimal: 1 kB is 1,000 bytes.  Not for: the DOM.

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];
const numbers = new Intl.NumberFormat("en");

// The same as in content/names.py, which says what they are.
const INVISIBLE = new RegExp(
  "[\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b-\\u200f\\u202a-\\u202e\\u2060-\\u206f\\u2800\\u3164\\ufe00-\\ufe0f\\ufeff\\uffa0\\ufff0-\\ufffb\\u{1bca0}-\\u{1bca3}\\u{13430}-\\u{1343f}\\u{1d159}\\u{1d173}-\\u{1d17a}\\u{e0000}-\\u{e0fff}]",
  "u",
);
const JOINING_SCRIPTS = new RegExp(
  "[\\u0600-\\u077f\\u07c0-\\u07ff\\u0840-\\u0dff\\u0f00-\\u109f\\u1700-\\u18af\\u1900-\\u1aff\\u1b00-\\u1c4f\\u1cd0-\\u1cff\\ua800-\\ua8ff\\ua930-\\ua9ff\\uaa00-\\uaaff\\uabc0-\\uabff\\ufb50-\\ufdff\\ufe70-\\ufefc\\u{10a00}-\\u{10a5f}\\u{10ac0}-\\u{10aff}\\u{10b80}-\\u{10baf}\\u{10d00}-\\u{10d3f}\\u{10f30}-\\u{10fdf}\\u{11000}-\\u{11fff}\\u{1e900}-\\u{1e95f}]",
  "u",
);
const LETTER = /[\p{L}\p{M}\p{N}]/u;
const VIRAMA = /[\u094d\u09cd\u0a4d\u0acd\u0b4d\u0bcd\u0c4d\u0ccd\u0d4d\u0dca]/u;
const UNSHOWN = /[\p{Cc}\p{Cf}\p{Cn}\p{Co}\p{Cs}\p{Zl}\p{Zp}]/u;
const NEW_EMOJI = /[\u{1f300}-\u{1faff}]/u;
const MARK = /[\p{So}]|(?=[^\u0000-\u1fff])[\p{Sm}\p{Sk}\p{Po}\p{Pd}]/u;

/** Text of a peer made safe to show: what hides, or turns text around, becomes an escape. */
export function safe(text, limit = 200) {
  if (text.length <= limit && /^[\x20-\x7e]*$/.test(text)) {
    return text;
  }
  const characters = [...text];
  const pieces = [];
  let length = 0;
  for (let index = 0; index < characters.length && length <= limit; index += 1) {
    const piece = isPlain(characters, index) ? characters[index] : escaped(characters[index]);
    pieces.push(piece);
    length += [...piece].length;
  }
  while (length > limit) {
    length = cut(pieces, length, limit);
  }
  return pieces.join("");
}

/** The same for a name, which no shell is to take for an option. */
export function safeName(name, limit = 200) {
  return name.startsWith("-") ? `\\x2d${safe(name.slice(1), limit - 4)}` : safe(name, limit);
}

function cut(pieces, length, limit) {
  while (length > limit - 1 || "\u200c\u200d".includes(pieces.at(-1) ?? "x")) {
    length -= [...pieces.pop()].length;
  }
  pieces.push("…");
  return length + 1;
}

function escaped(character) {
  const code = character.codePointAt(0);
  const hex = (width) => code.toString(16).padStart(width, "0");
  if (code < 0x100) {
    return `\\x${hex(2)}`;
  }
  return code < 0x10000 ? `\\u${hex(4)}` : `\\U${hex(8)}`;
}

function isPlain(characters, index) {
  const character = characters[index];
  if (INVISIBLE.test(character)) {
    return isMeant(characters, index);
  }
  return !UNSHOWN.test(character) || NEW_EMOJI.test(character);
}

/** Whether an invisible character does there what it is for; elsewhere it only hides. */
function isMeant(characters, index) {
  const character = characters[index];
  const [before, after] = [characters[index - 1] ?? "", characters[index + 1] ?? ""];
  const joiner = character === "\u200c" || character === "\u200d";
  if (joiner && isJoining(before)) {
    const half = character === "\u200d" && VIRAMA.test(before);
    return isJoining(after) || (half && after !== "\u200c" && after !== "\u200d");
  }
  if (character === "\u200d") {
    return isPictograph(after) && (before === "\ufe0f" || isPictograph(before));
  }
  if (/[\u180b-\u180f]/.test(character)) {
    return /[\u1820-\u18aa]/.test(before);
  }
  const keycap = after === "\u20e3" && /[#*0-9]/.test(before);
  return character === "\ufe0f" && (keycap || isPictograph(before));
}

function isJoining(character) {
  return JOINING_SCRIPTS.test(character) && LETTER.test(character) && !INVISIBLE.test(character);
}

function isPictograph(character) {
  return MARK.test(character) || NEW_EMOJI.test(character);
}

/** Bytes in three digits or so: `812 B`, `1.2 MB`, `34 GB`. */
export function sizeText(size) {
  let power = 0;
  while (size >= 999.5 && power < UNITS.length - 1) {
    size /= 1000;
    power += 1;
  }
  return `${size.toFixed(power && size < 9.95 ? 1 : 0)} ${UNITS[power]}`;
}

export function rateText(rate) {
  return `${sizeText(rate)}/s`;
}

/** A time to go: `0:07`, `12:34`, `1:02:03`. */
export function clockText(seconds) {
  const whole = Math.round(seconds);
  const pad = (number) => String(number).padStart(2, "0");
  const [hours, minutes, rest] = [
    Math.floor(whole / 3600),
    Math.floor(whole / 60) % 60,
    whole % 60,
  ];
  return hours ? `${hours}:${pad(minutes)}:${pad(rest)}` : `${minutes}:${pad(rest)}`;
}

/** A time that has passed: `0.42 s`, `12 s`, `3 min`, `2 h`, `4 d`. */
export function spanText(seconds) {
  if (seconds < 9.95) {
    return `${Number(seconds.toPrecision(2))} s`;
  }
  if (seconds < 119.5) {
    return `${seconds.toFixed(0)} s`;
  }
  if (seconds < 7170) {
    return `${(seconds / 60).toFixed(0)} min`;
  }
  return seconds < 172_800
    ? `${(seconds / 3600).toFixed(0)} h`
    : `${(seconds / 86_400).toFixed(0)} d`;
}

/** `1 peer`, `1,234 peers`. */
export function countText(count, thing, things = `${thing}s`) {
  return `${numbers.format(count)} ${count === 1 ? thing : things}`;
}

export function numberText(number) {
  return numbers.format(number);
}

/** `a`, `a and b`, `a, b and c`, `a, b and 5 more`. */
export function listText(items, most = 4, count = items.length) {
  const shown = count > most ? items.slice(0, most - 1) : items.slice();
  if (count > shown.length) {
    shown.push(`${numbers.format(count - shown.length)} more`);
  }
  return shown.length < 2
    ? shown.join("")
    : `${shown.slice(0, -1).join(", ")} and ${shown.at(-1)}`;
}

/** Who gave how much of what arrived: [address, percent], the most first. */
export function shares(given) {
  const total = Object.values(given).reduce((sum, count) => sum + count, 0);
  return Object.entries(given)
    .filter(([, count]) => count > 0)
    .sort((one, other) => other[1] - one[1])
    .map(([address, count]) => [address, Math.round((100 * count) / total)]);
}

/** What is said of a download that is complete. */
export function doneText(status) {
  const size = sizeText(status.size ?? status.received);
  const givers = shares(status.given).map(([address, percent]) => [safe(address), `${percent} %`]);
  if (!givers.length) {
    return `${size} · complete already, nothing was transferred`;
  }
  const from =
    givers.length === 1
      ? givers[0][0]
      : listText(givers.map(([address, percent]) => `${address}\u00a0(${percent.replace(" ", "\u00a0")})`), 5);
  return `${size} in ${spanText(status.elapsed_seconds)} from ${from}`;
}

/** A rate as people type it, in bytes per second; null for none.  Throws a sentence. */
export function parseRate(text) {
  const trimmed = text.trim();
  if (!trimmed) {
    return null;
  }
  const match = /^(\d+(?:[.,]\d+)?)\s*([kmg]?)(?:i?b)?(?:\/s)?$/i.exec(trimmed);
  const units = { "": 1, k: 1e3, m: 1e6, g: 1e9 };
  const rate = match && Number(match[1].replace(",", ".")) * units[match[2].toLowerCase()];
  if (!rate || rate < 1) {
    throw new Error("Write bytes per second, such as 500k, 2M or 1.5 MB/s; nothing for no limit.");
  }
  return rate;
}
