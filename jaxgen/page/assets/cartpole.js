// The pole on its cart, as in gymnax's CartPole-v1: Euler steps of the equations of Barto, Sutton and Anderson (1983).

function cartStep(state, force, physics) {
  // The state one step later: position, velocity, angle from upright, angular velocity.
  const [x, speed, angle, turn] = state, { gravity, masscart, masspole, length, tau } = physics;
  const mass = masscart + masspole, sine = Math.sin(angle), cosine = Math.cos(angle);
  const push = (force + masspole * length * turn * turn * sine) / mass;
  const turning = (gravity * sine - cosine * push) / (length * (4 / 3 - (masspole * cosine * cosine) / mass));
  const moving = push - (masspole * length * turning * cosine) / mass;
  return [x + tau * speed, speed + tau * moving, angle + tau * turn, turn + tau * turning];
}

function cartFallen(state, physics) {
  return Math.abs(state[0]) > physics.x_threshold || Math.abs(state[2]) > physics.theta_threshold_radians;
}

function cartStart(random = Math.random) {
  return Array.from({ length: 4 }, () => 0.1 * random() - 0.05);
}

function phaseStates(state, side, angles, turns) {
  // States (side x side, from the highest angular velocity down) with the cart as it is, for one call of the net.
  const rows = new Float32Array(4 * side * side);
  for (let i = 0, k = 0; i < side; i++)
    for (let j = 0; j < side; j++) {
      rows[k++] = state[0];
      rows[k++] = state[1];
      rows[k++] = -angles + (2 * angles * (j + 0.5)) / side;
      rows[k++] = turns - (2 * turns * (i + 0.5)) / side;
    }
  return rows;
}

if (typeof module !== "undefined") module.exports = { cartStep, cartFallen, cartStart, phaseStates };
