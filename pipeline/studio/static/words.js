// Numbers and times for people.

export function duration(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "";
  if (seconds < 0.1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.round(hours / 24)} days`;
}

export function ago(then) {
  const seconds = (Date.now() - Date.parse(then)) / 1000;
  if (seconds < 45) return "just now";
  return `${duration(Math.max(60, seconds))} ago`;
}

export const clock = (time) =>
  new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });

export const day = (time) =>
  new Date(time).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });

export function figure(value) {
  if (typeof value !== "number") return String(value ?? "");
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e5) return value.toExponential(2);
  return value.toFixed(size < 10 ? 4 : 2);
}

// val_log_loss → log loss.
export const named = (name) => name.replace(/^val_/, "").replaceAll("_", " ");

const KINDS = [
  [/^(pushed|unchanged)/, "good"],
  [/^(not blessed|withdrawn|stopped)/, "warn"],
  [/^(failed|killed)/, "bad"],
  [/^running/, "busy"],
];
export const kind = (outcome) => (KINDS.find(([of]) => of.test(outcome)) ?? [0, ""])[1];
export const brief = (outcome) => outcome.split(/[:,]/)[0];
