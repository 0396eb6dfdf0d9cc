// What is known of a run, kept up to date by its events; the server counts them alike.

function phaseOf(run, event) {
  let phase = run.phases.find((each) => each.stage === event.stage && each.name === event.phase);
  if (!phase) {
    phase = { name: event.phase, stage: event.stage, stopping: {}, before: {}, epochs: [], figures: {}, updates: {}, steps: [], losses: [], steps_an_epoch: 0, best_epoch: null, ended: false, by_hand: false };
    run.phases.push(phase);
  }
  return phase;
}

function add(columns, row, count) {
  for (const [name, value] of Object.entries(row)) (columns[name] ??= Array(count).fill(null)).push(value);
  for (const column of Object.values(columns)) while (column.length <= count) column.push(null);
}

function stageOf(run, name) {
  let stage = run.stages.find((each) => each.name === name);
  if (!stage) run.stages.push((stage = { name }));
  return stage;
}

const COUNT = {
  "run began": (run, event) => {
    run.began = event;
    run.stages = event.stages.map((stage) => ({ ...stage }));
  },
  "run ended": (run, event) => {
    run.ended = event;
    run.outcome = event.outcome;
  },
  "stage began": (run, event) =>
    Object.assign(stageOf(run, event.stage), { status: "running", began: event.time, expected: event.expected }),
  progress: (run, { stage, work, done, total, note, time }) => {
    stageOf(run, stage).progress = { work, done, total, note, time };
  },
  "stage ended": (run, { stage: name, status, seconds, stats, remarks, artifact }) => {
    const stage = Object.assign(stageOf(run, name), { status, seconds, stats, remarks, artifact });
    delete stage.progress;
  },
  "phase began": (run, event) => {
    const { time, level, event: _, stage, phase, before, ...stopping } = event;
    Object.assign(phaseOf(run, event), { stopping, before });
  },
  steps: (run, event) => {
    const phase = phaseOf(run, event);
    phase.steps_an_epoch = event.of;
    phase.steps.push(event.done);
    phase.losses.push(event.loss);
  },
  epoch: (run, event) => {
    const phase = phaseOf(run, event);
    const count = phase.epochs.length;
    if (count && event.epoch <= phase.epochs[count - 1]) return;
    phase.epochs.push(event.epoch);
    add(phase.figures, event.figures, count);
    add(phase.updates, event.updates, count);
  },
  "phase ended": (run, event) =>
    Object.assign(phaseOf(run, event), { ended: true, best_epoch: event.best_epoch, by_hand: event.by_hand }),
  alert: (run, event) => run.alerts.push(event),
  message: (run, event) => run.messages.push(event),
};

// One event more.
export function count(run, event) {
  COUNT[event.event]?.(run, event);
}

// Calls `changed` when there is something new, and once with `over` when nothing more will come.
export function follow(run, changed, of = `/api/runs/${encodeURIComponent(run.run_id)}`) {
  const source = new EventSource(`${of}/events?from=${run.offset}`);
  source.onmessage = (message) => {
    const event = JSON.parse(message.data);
    count(run, event);
    run.offset = Number(message.lastEventId);
    changed();
  };
  source.addEventListener("over", () => {
    source.close();
    changed("over");
  });
  // Where it is refused, as of a run that was removed, the browser does not try again.
  source.onerror = () => changed(source.readyState === EventSource.CLOSED ? "over" : "lost");
  source.onopen = () => changed("found");
  return () => source.close();
}
