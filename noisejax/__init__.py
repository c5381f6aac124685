from noisejax._compose import at as at, at_step as at_step, chain as chain, changed as changed, choose as choose, clip as clip, entries as entries, hits as hits, keyless as keyless, per_example as per_example, sometimes as sometimes
from noisejax._noise import Noise as Noise, bind as bind
from noisejax._continuous import gaussian as gaussian
from noisejax._masking import dropout as dropout, mask as mask
