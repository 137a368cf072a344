// Drives the playground with a real headless Chromium against the real processes, as a person would: mostly by keyboard. One subject a
// file; one browser for all.
import './first_load.mjs';
import './asking.mjs';
import './images.mjs';
import './maps.mjs';
import './waterfall.mjs';
import './conversation.mjs';
import './take_along.mjs';
import './resolutions.mjs';
import './refusals.mjs';
import './appearance.mjs';
import './keys.mjs';
