// How numbers, sizes, speeds, times and servers are written for people; as the command writes them.

const UNITS = ["kB", "MB", "GB", "TB", "PB"];
const UNKNOWN = "–";

/** 1234 as `1,234`. */
export function numberText(number) {
  return number === null || number === undefined ? UNKNOWN : number.toLocaleString("en");
}

/** `1 file`, `1,234 files`. */
export function countText(number, one, many = `${one}s`) {
  return `${numberText(number)} ${number === 1 ? one : many}`;
}

/** 1234567 as `1.2 MB`; null is unknown. */
export function sizeText(bytes) {
  if (bytes === null || bytes === undefined) return UNKNOWN;
  if (bytes < 1000) return `${Math.floor(bytes)} B`;
  let value = bytes;
  let unit = "";
  for (unit of UNITS) {
    value /= 1000;
    if (value < 999.5) break;
  }
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}

export function speedText(bytesPerSecond) {
  return `${sizeText(bytesPerSecond)}/s`;
}

/** Seconds as `42 s`, `4 min`, `3 h 5 min`, `2 d 4 h`; null is unknown. */
export function spanText(seconds) {
  if (seconds === null || seconds === undefined) return UNKNOWN;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.round(whole / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return joined(hours, "h", minutes % 60, "min");
  return joined(Math.floor(hours / 24), "d", hours % 24, "h");
}

function joined(large, largeUnit, small, smallUnit) {
  return small ? `${large} ${largeUnit} ${small} ${smallUnit}` : `${large} ${largeUnit}`;
}

/** The time of day here, and the day where it is another one. */
export function clockText(iso) {
  if (!iso) return UNKNOWN;
  const then = new Date(iso);
  const time = then.toLocaleTimeString("en-GB");
  if (then.toDateString() === new Date().toDateString()) return time;
  return `${then.toLocaleDateString("en-GB", { day: "numeric", month: "short" })} ${time}`;
}

const USUAL_PORTS = { "ftp:": "21", "ftps:": "990", "http:": "80", "https:": "443", "sftp:": "22" };

/** `https://ftp.ncbi.nlm.nih.gov:443` without the port that goes without saying. */
export function hostText(host) {
  const found = /^([a-z]+:)\/\/(.*):(\d+)$/.exec(host ?? "");
  if (!found) return host || UNKNOWN;
  const [, protocol, name, port] = found;
  return USUAL_PORTS[protocol] === port ? `${protocol}//${name}` : host;
}
