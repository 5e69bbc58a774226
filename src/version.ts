import manifest from '../package.json';

/** The version of this extension and program. */
export const { version } = manifest;
