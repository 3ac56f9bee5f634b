{
  'targets': [
    {
      'target_name': 'ringside',
      'sources': [
        'native/addon.cc',
        '<!@(ls native/port/*.cc)',
        '<!@(cat native/sources.txt)',
      ],
      'include_dirs': [
        '.',
        "<!(node -p \"require('node-addon-api').include_dir\")",
      ],
      'defines': [
        'NAPI_VERSION=8',
        'NAPI_DISABLE_CPP_EXCEPTIONS',
        'NODE_ADDON_API_DISABLE_DEPRECATED',
      ],
      'cflags_cc!': ['-std=gnu++14', '-std=gnu++17', '-std=gnu++20'],
      'cflags_cc': ['-std=c++20', '-fno-exceptions'],
      'cflags!': ['-O3'],
      'cflags': [
        '-Wall',
        '-Wextra',
        '-O2',
        '-fvisibility=hidden',
        '-fstack-protector-strong',
      ],
      'ldflags': ['-Wl,-z,relro,-z,now', '-Wl,-z,noexecstack'],
      'conditions': [
        # -U first: some distributions' compilers define it themselves and would warn.
        ['1==1', {'cflags': ['-U_FORTIFY_SOURCE', '-D_FORTIFY_SOURCE=2']}],
        ['target_arch=="x64"', {'cflags': ['-fcf-protection']}],
        ['"<!(node -p "process.env.RINGSIDE_WERROR || 0")"=="1"', {'cflags': ['-Werror']}],
      ],
    },
  ],
}
