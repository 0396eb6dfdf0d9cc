// Early stopping as it happens: what is best, what is left, and what would be kept.

import { figure, named } from "./words.js";

// As Keras's EarlyStopping has it: better by more than min_delta, from start_from_epoch on.
export function state(phase) {
  const { monitor = "val_loss", patience = 0, min_delta = 0, start_from_epoch = 0, more_is_better = false, epochs = 0 } = phase.stopping;
  const values = phase.figures[monitor] ?? [];
  let best = null;
  let waited = 0;
  values.forEach((value, index) => {
    const epoch = phase.epochs[index];
    if (epoch < start_from_epoch) return;
    waited += 1;
    const better = value !== null && (best === null || (more_is_better ? value > best.value + min_delta : value < best.value - min_delta));
    if (better) {
      best = { value, epoch };
      waited = 0;
    }
  });
  const line = best && (more_is_better ? best.value + min_delta : best.value - min_delta);
  return { monitor, patience, waited, left: Math.max(0, patience - waited), best, line, more_is_better, epochs, done: values.length };
}

export function said(phase) {
  const now = state(phase);
  const what = now.monitor === "val_loss" ? "validation loss" : `validation ${named(now.monitor)}`;
  if (!now.best) return now.done ? "No epoch counts as the best yet." : "The first epoch is not done yet.";
  const best = `Best so far: epoch ${now.best.epoch + 1}, ${what} ${figure(now.best.value)}.`;
  if (phase.ended) {
    const kept = phase.best_epoch === null ? "" : ` The weights of epoch ${phase.best_epoch + 1} are kept.`;
    if (phase.by_hand) return `Ended by hand after ${now.done} epochs.${kept}`;
    const why = now.done >= now.epochs ? `All ${now.epochs} epochs are done.` : `None of ${now.waited} epochs after it was better: ended early, after ${now.done} of ${now.epochs}.`;
    return `${best} ${why}${kept}`;
  }
  const rest = now.left === 1 ? "the next epoch is not" : `none of the next ${now.left} epochs is`;
  const side = now.more_is_better ? "above" : "below";
  if (now.done + now.left >= now.epochs) return `${best} Epoch ${now.done} of at most ${now.epochs}; the last one comes before patience ends.`;
  return `${best} Where ${rest} ${side} ${figure(now.line)}, training ends and epoch ${now.best.epoch + 1} is kept.`;
}
